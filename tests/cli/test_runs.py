"""``flexit runs``, ``plot``, and ``show`` and ``diff`` of run folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flexit.cli.app import run
from flexit.cli.running import COLUMNS
from flexit.ir.io.load import load_spec
from tests.runtime.runs.folders import write_run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, held_out, lr in (("a", (2.5, 2.25), 0.001), ("b", (2.0, 2.1), 0.01)):
        folder = write_run(Path("runs", name), held_out=held_out, saved=10, lr=lr)
        (folder / "spec.yaml").write_text(load_spec("tiny-llama").to_yaml())


def test_a_table_of_runs(capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("runs", "c"), outcome="failed: FX1701 the loss is not finite")
    assert run(["runs", "runs", "--sort", "best"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == list(COLUMNS)
    assert rows[1][:6] == ["b", "tiny-llama", "causal_lm", "1.23k", "10/10", "80"]
    assert rows[1][6:10] == ["2.0000", "2.1000", "2.0000", "finished"]
    assert [row[0] for row in rows[1:]] == ["b", "a", "c"]
    assert "failed" in rows[3]


def test_the_same_as_data_from_the_highest_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "runs", "--sort", "-validation", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["runs"]
    assert [each["run"] for each in found] == ["a", "b"]
    assert found[0]["validation"] == 2.25 and found[0]["state"] == "finished" and found[0]["steps"] == 10


def test_a_damaged_run_hides_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs/a/cost.json").write_text("[")
    assert run(["runs", "runs"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert "unreadable" in rows[1] and "finished" in rows[2]


@pytest.mark.parametrize(
    ("arguments", "code", "cure"),
    [
        (["runs", "runs", "--sort", "lost"], "FX1112", "write loss"),
        (["runs", "none"], "FX0100", "correct the path"),
        (["plot", "runs/a", "--x", "epoch"], "FX1112", "write step"),
        (["plot", "runs/a", "-o", "a.txt"], "FX1112", "write a.png"),
        (["plot", "none"], "FX1201", "correct the path"),
        (["plot", "runs/a", "--y", ","], "FX1112", "write loss"),
        (["diff", "runs/a", "none"], "FX1201", "correct the path"),
        (["diff", "none", "runs/a"], "FX1201", "correct the path"),
        (["plot", "runs/a", "--y", "accuracy"], "FX1112", "write"),
    ],
)
def test_mistakes(arguments: list[str], code: str, cure: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert code in said and f"do: {cure}" in said


def test_a_plot_in_the_terminal_and_as_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plot", "runs"]) == 0
    assert "x b loss, + b validation_loss" in capsys.readouterr().out
    assert run(["plot", "runs/a", "--y", "loss"]) == 0
    assert "loss in nats per label, by step: training" in capsys.readouterr().out
    assert run(["plot", "runs", "-o", "pictures/a.svg", "--smooth", "0.9"]) == 0
    assert capsys.readouterr().out == "pictures/a.svg written\n"
    assert Path("pictures/a.svg").is_file()


def test_what_a_run_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "runs/a"]) == 0
    said = capsys.readouterr().out
    for text in (
        "runs/a: finished, step 10 of 10, 80 tokens", "tiny-llama: ", "  optimizer: {lr: 0.001}", "start 1: ",
        "validation_loss 2.2500 (step 10)", "lowest validation_loss 2.2500", "checkpoints: step-000010",
    ):  # fmt: skip
        assert text in said


def test_what_two_runs_differ_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diff", "runs/a", "runs/b"]) == 1
    assert "optimizer.lr  0.001  0.01" in capsys.readouterr().out
    other = load_spec("tiny-llama", sets=["blocks.decoder.layer.feed_forward.d_ff=99"])
    Path("runs/b/spec.yaml").write_text(other.to_yaml())
    assert run(["diff", "runs/a", "runs/b", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [change["path"] for change in found["config"]] == ["optimizer.lr"]
    assert [change["path"] for change in found["fields"]] == ["blocks.decoder.layer.feed_forward.d_ff"]
    assert run(["diff", "runs/a", "runs/a"]) == 0
    assert capsys.readouterr().out == "no difference\n"


@pytest.mark.parametrize("command", ["runs runs", "show runs/a", "diff runs/a runs/a", "runs runs --json"])
def test_reading_runs_is_light(command: str) -> None:
    script = (
        f"import sys; from flexit.cli.app import run; assert run({command.split()!r}) == 0; "
        "assert not {'torch', 'onnx', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
