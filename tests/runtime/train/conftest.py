"""A small spec, a small corpus of real text and a run config on them."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from flexit.ir.io.load import load_spec
from flexit.ir.spec import Spec

TEXT = "{kind: text, files: ['corpus/*.py']}"
MODULES = ("argparse", "ast", "cmd", "copy", "csv")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def spec() -> Spec:
    return load_spec("tiny-llama", sets=["blocks.embed.vocab_size=300", "blocks.decoder.layer.dropout=0.1"])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of Python source."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    library = Path(sysconfig.get_path("stdlib"))
    for name in MODULES:
        (folder / f"{name}.py").write_bytes((library / f"{name}.py").read_bytes())
    return folder


@pytest.fixture
def write_config(tmp_path: Path, corpus: Path) -> Callable[..., Path]:
    """Writes a run config; keyword arguments replace whole lines of it."""

    def write(**lines: str) -> Path:
        entries = {
            "flexit": "1",
            "model": "tiny-llama",
            "set": '["blocks.embed.vocab_size=300"]',
            "task": "causal_lm",
            "data": f"{{train: {TEXT}, validation: {{split: 0.05}}, seq_len: 16, tokenizer: bpe}}",
            "batch": "{size: 4, accumulate: 2}",
            "schedule": "{kind: cosine, warmup: 3}",
            "steps": "12",
            "threads": "1",
            "device": "cpu",
            "evaluate": "{every: 4, max_batches: 3}",
            "checkpoint": "{every: 4, keep_best: 1}",
            "log": "{every: 3}",
            "out": "run",
        }
        entries |= lines
        path = tmp_path / "run.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in entries.items() if value))
        return path

    return write
