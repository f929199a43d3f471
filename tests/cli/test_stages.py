"""What lasts is shown while it lasts: a line for each stage where there is no terminal, one that changes on one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from flexit.cli.app import run
from flexit.runtime import status
from flexit.runtime.status import stages


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_training_tells_its_stages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", "tiny-llama", "spec.yaml"]) == 0
    Path("spec.yaml").write_text(Path("spec.yaml").read_text().replace("vocab_size: 128", "vocab_size: 300"))
    Path("text.txt").write_text("some words that a small model can learn from, again and again. " * 400)
    data = "{train: {kind: text, files: [text.txt]}, seq_len: 16, tokenizer: bpe}"
    Path("run.yaml").write_text(f"{{flexit: 1, model: spec.yaml, task: causal_lm, data: {data}, steps: 1, out: run}}")
    capsys.readouterr()
    assert run(["train", "run.yaml"]) == 0
    stages_told = ["loading PyTorch", "reading run.yaml", "reading the text", "learning the vocabulary"]
    assert capsys.readouterr().err.splitlines()[:6] == [*stages_told, "encoding", "building the model"]


def test_a_command_says_so_before_it_imports_anything_heavy(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "none", "out"]) == 2
    assert capsys.readouterr().err.splitlines()[:2] == ["loading PyTorch", "reading the model"]


def test_one_line_changes_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(status, "Console", lambda **_: Console(file=shown, force_terminal=True, width=80))
    with stages("first \x1b[2J") as stage:
        stage("second")
    assert "second" in shown.getvalue() or "first" in shown.getvalue()
    assert "\x1b[2J" not in shown.getvalue()


def test_nothing_is_shown_where_nothing_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with stages("first", shown=False) as stage:
        stage("second")
    assert capsys.readouterr().err == ""
