"""``flexit demo``, interrupted in each of its stages by a real signal and started again, goes on and finishes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flexit.cli.app import run
from flexit.cli.demo import FIRST
from flexit.cli.generating import speaker_at
from flexit.errors import CheckpointError
from flexit.runtime.bundles.export import export
from flexit.runtime.runs.series import curves_of
from flexit.runtime.train.read import read_config
from flexit.runtime.train.trainer import Result
from tests.interrupts import dropped, first_losing
from tests.saved import write_checkpoint

interrupting = pytest.mark.skipif(os.name == "nt", reason="forks, and sends signals")

FORKER = textwrap.dedent("""
    import os, sys
    import flexit.cli.demo, matplotlib.pyplot, plotext
    from flexit.cli.app import run

    for line in sys.stdin:
        child = os.fork()
        if not child:
            shown = os.open("shown.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(shown, 1)
            os.dup2(shown, 2)
            os._exit(run(["demo", "--folder", "my demo"]))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
""")
"""A process that has imported everything, starts a demo for each line, and tells its number and its exit code."""

CONFIG = """
flexit: 1
model: tiny-llama
set: ["blocks.embed.vocab_size=600"]
task: causal_lm
data:
  train: {kind: text, files: ["../*.txt"]}
  validation: {split: 0.05}
  seq_len: 16
  tokenizer: {kind: bpe, vocab_size: 600}
batch: {size: 2}
steps: 120
evaluate: {every: 60, max_batches: 2}
checkpoint: {every: 60}
log: {every: 5}
out: run
"""
Stage = Callable[[Path], bool]


def learning_the_vocabulary(folder: Path) -> bool:
    return (folder / "run" / "run.json").exists()


def encoding(folder: Path) -> bool:
    return any(folder.glob("run/data.tmp-*/tokens.bin")) or (folder / "run" / "data").exists()


def training(folder: Path) -> bool:
    metrics = folder / "run" / "metrics.jsonl"
    return metrics.exists() and metrics.read_bytes().count(b"\n") > 3


def exporting(folder: Path) -> bool:
    return any(folder.glob("bundle.tmp-*/model.onnx"))


def comparing(folder: Path) -> bool:
    del folder
    return "3. The same text from both" in shown()


STAGES: tuple[Stage, ...] = (learning_the_vocabulary, encoding, training, exporting, comparing)


def shown() -> str:
    """What the demo has printed so far."""
    file = Path("shown.txt")
    return file.read_text() if file.exists() else ""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a demo goes that is over in seconds: its run config is there already, with a small model and text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for number, file in enumerate(sorted((Path(__file__).parents[2] / "flexit" / "ir").glob("*.py"))):
        Path(f"{number}.txt").write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    folder = tmp_path / "my demo"
    folder.mkdir()
    (folder / "run.yaml").write_text(FIRST + CONFIG)
    return folder


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., int]]:
    """Starts the demo, sends a signal once it is in a stage, and gives its exit code."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told, answers = process.stdin, process.stdout

        def demo(stage: Stage | None = None, number: int = 0) -> int:
            Path("shown.txt").unlink(missing_ok=True)
            print("go", file=told, flush=True)
            child = int(answers.readline())
            while stage is not None and not stage(folder):
                time.sleep(0.001)
                os.kill(child, 0)  # an error where it has ended before the stage
            if stage is not None:
                os.kill(child, number)
            return int(answers.readline())

        yield demo
        told.close()


@pytest.mark.slow
@pytest.mark.ort
@interrupting
def test_interrupted_anywhere_it_goes_on(folder: Path, start: Callable[..., int]) -> None:
    for stage in STAGES:
        assert start(stage, signal.SIGINT) == 130, f"{stage.__name__}: {shown()}"
        assert re.search(r"interrupted( at step \d+)?; the same command goes on\n$", shown()), shown()
    assert start() == 0, shown()
    assert "What to try next" in shown()
    assert "flexit verify 'my demo/bundle'" in shown()
    assert run(["verify", "my demo/bundle"]) == 0


@pytest.mark.slow
@pytest.mark.ort
@interrupting
def test_killed_anywhere_it_goes_on(folder: Path, start: Callable[..., int]) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "run.json.tmp-1-0").touch()  # of a start that was killed while it took the folder
    for stage in STAGES:
        assert start(stage, signal.SIGKILL) == -signal.SIGKILL, f"{stage.__name__}: {shown()}"
    assert start() == 0, shown()
    assert "What to try next" in shown()
    assert run(["verify", "my demo/bundle"]) == 0


def test_interrupted_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is a whole run config or none, and one that is there counts, which is said."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("flexit.files.folder.sync_file", interrupt)
        assert run(["demo", "--folder", "d", "--steps", "20"]) == 130
        assert not any((tmp_path / "d").iterdir())
    monkeypatch.setattr("flexit.cli.demo.train", interrupt)
    assert run(["demo", "--folder", "d", "--steps", "40"]) == 130
    assert read_config("d/run.yaml")[0].steps == 40
    said = [line for line in capsys.readouterr().err.splitlines() if line != "loading PyTorch"]
    assert said == ["interrupted; the same command goes on"] * 2
    assert run(["demo", "--folder", "d", "--steps", "20"]) == 130
    assert read_config("d/run.yaml")[0].steps == 40
    assert "d/run.yaml is there already and is carried out as it is" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize("stage", ["train", "curves_of", "export", "speaker_at"])
def test_a_signal_that_python_loses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    """Nothing comes after the stage in which it was lost, as inside of imports."""
    lost = dropped(monkeypatch)
    write_checkpoint(tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    done = Result(step=2, tokens=9, loss=1.0, validation_loss=None, stopped_by=None, checkpoint=tmp_path / "run")
    called: list[str] = []
    steps: dict[str, Callable[..., Any]] = {
        "train": lambda *_: done, "curves_of": curves_of, "export": export, "speaker_at": speaker_at,
    }  # fmt: skip
    for name, step in steps.items():

        def call(*given: Any, name: str = name, step: Callable[..., Any] = step, **named: Any) -> Any:
            called.append(name)
            return (first_losing(step) if name == stage else step)(*given, **named)

        monkeypatch.setattr(f"flexit.cli.demo.{name}", call)
    assert run(["demo", "--folder", str(tmp_path)]) == 130
    assert list(dict.fromkeys(called)) == list(steps)[: list(steps).index(stage) + 1]
    assert set(lost) == {KeyboardInterrupt}
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted; the same command goes on"


def test_on_another_machine_it_goes_on_and_says_what_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A demo promises no equal bits, so it asks for no permission."""
    calls: list[bool] = []

    def changed(config: Path, *, allow_changed: bool = False) -> None:
        calls.append(allow_changed)
        if allow_changed:
            raise KeyboardInterrupt
        raise CheckpointError.of("FX1202", "the threads changed", expected="1", found="2", cure=f"{config}")

    monkeypatch.setattr("flexit.cli.demo.train", changed)
    assert run(["demo", "--folder", str(tmp_path / "d")]) == 130
    assert calls == [False, True]
    assert "going on although the threads changed: 1, now 2\n" in capsys.readouterr().err


def test_a_run_config_of_the_users_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text("flexit: 1\n")
    for folder, found in ((tmp_path, "a run.yaml that the demo did not write"), (tmp_path / "run.yaml", "a file")):
        assert run(["demo", "--folder", str(folder)]) == 2
        assert f"found {found}\n" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["run.yaml"]
