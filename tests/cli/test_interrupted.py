"""Ctrl-C that Python loses while a command imports what it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flexit.cli.app import run
from tests.interrupts import dropped, in_a_weak_callback

RUN = """
flexit: 1
model: tiny-llama
task: causal_lm
data:
  train: {kind: text, files: [corpus.txt]}
  seq_len: 16
  tokenizer: {kind: bpe}
batch: {size: 2}
optimizer: {kind: adamw, lr: 1e-3}
steps: 2
out: run
"""


class Module:
    """Stands for a module: its import loses a signal, and its functions note that they were called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        in_a_weak_callback()
        return lambda *_, **__: self.called.append(name)


@pytest.mark.parametrize(
    ("command", "imported"), [(["train", "run.yaml"], "flexit.runtime.train.run"), (["demo"], "flexit.cli.demo")]
)
def test_while_a_command_imports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str],
    imported: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(RUN)
    Path("corpus.txt").write_text("words to learn from\n" * 40)
    lost, module = dropped(monkeypatch), Module()
    monkeypatch.setitem(sys.modules, imported, module)  # pyright: ignore[reportArgumentType]
    assert run(command) == 130
    assert (lost, module.called) == ([KeyboardInterrupt], [])
    assert capsys.readouterr().err.splitlines() == ["loading PyTorch", "interrupted"]
