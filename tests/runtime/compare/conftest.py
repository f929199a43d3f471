"""A compare file on a run config on real text."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = """flexit: 1
model: tiny-llama
set: ["blocks.embed.vocab_size=300"]
task: causal_lm
data: {train: {kind: text, files: ["corpus/*.py"]}, validation: {split: 0.05}, seq_len: 16, tokenizer: bpe}
batch: {size: 4}
steps: 12
device: cpu
threads: 1
evaluate: {every: 4, max_batches: 3}
checkpoint: {every: 4}
log: {every: 3}
out: run
"""


@pytest.fixture
def write_compare(tmp_path: Path) -> Callable[..., Path]:
    """Writes a compare file with lines; the run config that it names lies beside it."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    library = Path(sysconfig.get_path("stdlib"))
    for name in ("cmd", "copy", "csv"):
        (folder / f"{name}.py").write_bytes((library / f"{name}.py").read_bytes())
    (tmp_path / "run.yaml").write_text(RUN)

    def write(**lines: str) -> Path:
        entries = {"flexit": "1", "run": "run.yaml", "out": "compared"} | lines
        path = tmp_path / "compare.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in entries.items() if value))
        return path

    return write
