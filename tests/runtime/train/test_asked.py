"""A checkpoint that is asked for while a run goes on, by a file or a signal, and what it changes: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.resources.asked import NOW
from flexit.runtime.train.saving.checkpoint import read_state
from flexit.runtime.train.saving.saved_steps import checkpoints
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.step import Step
from tests.runtime.train.plain import batches, trainer

RUN = textwrap.dedent("""
    import sys
    from pathlib import Path
    from flexit.runtime.train.callbacks.callback import Callback
    from tests.runtime.train.plain import batches, trainer

    class Slow(Callback):
        def after_step(self, trainer, step):
            __import__("time").sleep(0.002)

    run = trainer(batches(10), Slow(), out=Path(sys.argv[1]), checkpoint={"every": 100000}, log={"every": 1})
    run.fit(steps=100000)
""")


class Ask(Callback):
    """Asks at some steps."""

    def __init__(self, *steps: int, by_file: bool) -> None:
        self.steps, self.by_file = steps, by_file

    def after_step(self, trainer: Trainer, step: Step) -> None:
        if step.number not in self.steps:
            return
        if self.by_file:
            assert trainer.out is not None
            (trainer.out / NOW).touch()
            time.sleep(0.25)
        else:
            os.kill(os.getpid(), signal.SIGUSR1)


def saved(out: Path) -> list[int]:
    return [read_state(path)["step"] for path in checkpoints(out / "checkpoints")]


@pytest.mark.slow
@pytest.mark.parametrize("by_file", [True, False])
def test_it_is_made_after_the_step_and_changes_nothing(tmp_path: Path, by_file: bool):
    if not by_file and not hasattr(signal, "SIGUSR1"):
        pytest.skip("no SIGUSR1")
    keep = {"every": 4, "keep_last": 10}
    trainer(batches(10), out=tmp_path / "whole", checkpoint=keep, log={"every": 1}).fit(steps=9)
    before = signal.getsignal(signal.SIGUSR1)
    asking = trainer(batches(10), Ask(3, 4, by_file=by_file), out=tmp_path / "asked", checkpoint=keep, log={"every": 1})
    assert asking.fit(steps=9).stopped_by is None
    assert signal.getsignal(signal.SIGUSR1) is before
    assert saved(tmp_path / "whole") == [4, 8, 9]
    assert saved(tmp_path / "asked") == [3, 4, 8, 9]
    assert not (tmp_path / "asked" / NOW).exists()
    for name in ("metrics.jsonl", *(f"checkpoints/step-000009/{part}" for part in ("model", "training/optimizer"))):
        file = name if name.endswith("jsonl") else f"{name}.safetensors"
        assert (tmp_path / "asked" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_file_that_lay_there_before(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NOW).touch()
    trainer(batches(10), out=tmp_path / "run", checkpoint={"every": 5, "keep_last": 10}).fit(steps=6)
    assert saved(tmp_path / "run") == [1, 5, 6]


def test_multiples_are_kept_for_good(tmp_path: Path):
    keep = {"every": 2, "keep_last": 1, "keep_every": 4}
    trainer(batches(10), out=tmp_path / "run", checkpoint=keep).fit(steps=13)
    assert saved(tmp_path / "run") == [4, 8, 12, 13]


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    patience = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.01)
    assert condition(), process.returncode


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no SIGUSR1")
def test_a_process_is_asked_and_goes_on(tmp_path: Path):
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", RUN, str(out)], text=True)
    try:
        until(lambda: (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").read_bytes(), process)
        process.send_signal(signal.SIGUSR1)
        until(lambda: len(checkpoints(out / "checkpoints")) == 1, process)
        (out / NOW).touch()
        until(lambda: len(checkpoints(out / "checkpoints")) == 2 and not (out / NOW).exists(), process)
        last = saved(out)[-1]
        until(lambda: f'"step": {last + 3}, ' in (out / "metrics.jsonl").read_text(), process)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
