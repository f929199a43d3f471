"""Worker processes end when nobody needs their batches any more, and no one waits for a batch that nobody needs."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

import flexit
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.data.examples import Examples
from flexit.runtime.train.data.loader import Loader

ROOT = Path(__file__).parents[3]


class Numbers(Examples):
    """A thousand numbers."""

    def __len__(self) -> int:
        return 1000

    def rows(self, chosen: Any) -> list[int]:
        return [int(each) for each in chosen]

    def collate(self, rows: Any, key: tuple[int, ...]) -> dict[str, torch.Tensor]:
        return {"x": torch.tensor(rows, dtype=torch.float32)[:, None]}


class Square(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return {"loss": super().forward(x).square().mean()}


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    """What ends, ends by itself: a collection of cycles that waits for workers would stop a run for seconds."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left(processes: list[Any]) -> list[int]:
    """Those that are still there after a while."""
    ends = time.monotonic() + 20
    while any(each.is_alive() for each in processes) and time.monotonic() < ends:
        time.sleep(0.05)
    return [each.pid for each in processes if each.is_alive()]


@pytest.mark.slow
def test_none_is_left_after_a_training():
    loader = Loader(Numbers(), batch_size=4, seed=1, workers=2)
    before = multiprocessing.active_children()
    seen: list[Any] = []

    class Sees(Callback):
        def after_step(self, trainer: flexit.Trainer, step: Any) -> None:
            seen[:] = [each for each in multiprocessing.active_children() if each not in before]

    model = Square(1, 1)
    trainer = flexit.Trainer(
        model, torch.optim.SGD(model.parameters(), lr=1e-9), lambda outputs, batch: outputs["loss"], loader,
        callbacks=[Sees()], config={"progress": False, "device": "cpu"},
    )  # fmt: skip
    trainer.fit(steps=3)
    assert len(seen) == 2
    assert left(seen) == []
    trainer.fit(steps=5)  # begins others
    assert trainer.step == 5
    assert loader.state_dict() == {"pass": 0, "batch": 5}


@pytest.mark.slow
def test_none_is_left_beside_those_that_take_their_place():
    loader = Loader(Numbers(), batch_size=4, seed=1, workers=2)
    batches = iter(loader)
    next(batches)
    assert loader._ahead is not None
    workers: Any = loader._ahead.loader._workers  # pyright: ignore
    workers[0].kill()
    while loader._losses == 0:
        next(batches)
    assert left(workers) == []
    loader.close()


@pytest.mark.slow
def test_a_pass_that_is_left_in_the_middle():
    """The next one begins at the first batch, though the workers have gone on."""
    here, there = (Loader(Numbers(), batch_size=100, workers=workers) for workers in (0, 1))
    for _ in range(2):
        first = [[batch["x"].tolist() for batch in islice(each, 2)] for each in (here, there)]
        assert first[0] == first[1]
        assert first[0][0][0] == [0.0]
    there.close()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="sends itself a signal")
def test_a_process_ends_while_a_worker_is_busy(tmp_path: Path):
    script = tmp_path / "busy.py"
    script.write_text(
        "import os, signal, threading, time\n"
        "from flexit.runtime.train.data.loader import Loader\n"
        "from tests.runtime.train.test_workers import Numbers\n"
        "class Slow(Numbers):\n"
        "    def collate(self, rows, key):\n"
        "        time.sleep(1000 if key[2] > 1 else 0)\n"
        "        return super().collate(rows, key)\n"
        "if __name__ == '__main__':\n"
        "    batches = iter(Loader(Slow(), batch_size=4, seed=1, workers=1))\n"
        "    print(len(next(batches)['x']), len(next(batches)['x']))\n"
        "    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "    try:\n"
        "        next(batches)\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "4 4\ninterrupted\n"), done.stderr
    assert done.stderr == ""
