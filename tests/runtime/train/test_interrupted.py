"""A signal inside an update drops that update, and the run that goes on ends with the bits of one that had none."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.data.feed import Feed
from flexit.runtime.train.saving.mark import Mark
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.step import Step
from tests.runtime.train.plain import Small, batches, mean_loss, trainer

STEPS, ACCUMULATE = 7, 4


class Loss:
    """The loss, which sends a signal to this process in its call number ``at``."""

    def __init__(self, at: int, number: signal.Signals = signal.SIGTERM) -> None:
        self.at, self.number, self.calls = at, number, 0

    def __call__(self, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), self.number)
        return mean_loss(outputs, batch)


class Loader:
    """A list of batches that sends a signal where it gives batch number ``at``."""

    def __init__(self, at: int) -> None:
        self.given, self.at, self.count = batches(10), at, 0

    def __len__(self) -> int:
        return len(self.given)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.given:
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch


def shuffled() -> Any:
    """A loader whose order is drawn anew in each pass."""
    rows = [{name: value[0] for name, value in batch.items()} for batch in batches(20)]
    return torch.utils.data.DataLoader(rows, batch_size=2, shuffle=True)  # pyright: ignore[reportArgumentType]


def contents(run: Path) -> dict[str, bytes]:
    names = ("metrics.jsonl", "LATEST")
    files = [*sorted((run / "checkpoints" / f"step-{STEPS:06d}").rglob("*")), *(run / name for name in names)]
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.is_file()}


def run_whole(out: Path, loader: Any, **call: int) -> dict[str, bytes]:
    result = trainer(loader, out=out, accumulate=ACCUMULATE, log={"every": 2}).fit(**(call or {"steps": STEPS}))
    assert (result.step, result.stopped_by) == (STEPS, None)
    return contents(out)


@pytest.mark.parametrize(("at", "step", "number"), [(1, 0, 2), (3, 0, 15), (9, 2, 2), (12, 3, 15), (23, 5, 15)])
def test_between_the_batches_of_an_update(tmp_path: Path, at: int, step: int, number: int):
    whole = run_whole(tmp_path / "whole", shuffled())
    loss = Loss(at, signal.Signals(number))
    first = trainer(shuffled(), loss_fn=loss, out=tmp_path / "parts", accumulate=ACCUMULATE, log={"every": 2})
    result = first.fit(steps=STEPS)
    assert (result.step, result.stopped_by, loss.calls) == (step, signal.Signals(number).name, at)
    assert all(value.grad is None for value in first.model.parameters()) or at % ACCUMULATE == 0
    torch.manual_seed(99)
    second = trainer(shuffled(), out=tmp_path / "parts", accumulate=ACCUMULATE, log={"every": 2})
    second.resume()
    assert second.step == step
    second.fit(steps=STEPS)
    assert contents(tmp_path / "parts") == whole


@pytest.mark.parametrize("at", [1, 2, 14, 27])
def test_while_the_batches_of_an_update_are_loaded(tmp_path: Path, at: int):
    whole = run_whole(tmp_path / "whole", Loader(0))
    loader = Loader(at)
    first = trainer(loader, out=tmp_path / "parts", accumulate=ACCUMULATE, log={"every": 2})
    result = first.fit(steps=STEPS)
    assert (result.step, result.stopped_by) == ((at - 1) // ACCUMULATE, "SIGINT")
    assert loader.count == at
    second = trainer(Loader(0), out=tmp_path / "parts", accumulate=ACCUMULATE, log={"every": 2})
    second.resume()
    second.fit(steps=STEPS)
    assert contents(tmp_path / "parts") == whole


@pytest.mark.parametrize("at", [2, 10, 23])
def test_the_same_trainer_goes_on(tmp_path: Path, at: int):
    whole = run_whole(tmp_path / "whole", shuffled())
    run = trainer(shuffled(), loss_fn=Loss(at), out=tmp_path / "parts", accumulate=ACCUMULATE, log={"every": 2})
    assert run.fit(steps=STEPS).stopped_by == "SIGTERM"
    torch.manual_seed(99)
    assert run.fit(steps=STEPS).step == STEPS
    assert contents(tmp_path / "parts") == whole


def test_passes_end_where_they_would(tmp_path: Path):
    """Ten batches by four: three updates a pass, of which the last has two."""
    loader = shuffled()
    first = trainer(loader, loss_fn=Loss(16), out=tmp_path / "parts", accumulate=ACCUMULATE)
    assert first.fit(epochs=2).step == 4
    second = trainer(shuffled(), out=tmp_path / "parts", accumulate=ACCUMULATE)
    second.resume()
    assert second.fit(epochs=2).step == 6
    whole = trainer(shuffled(), accumulate=ACCUMULATE)
    whole.fit(epochs=2)
    for one, two in zip(whole.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_an_update_of_one_batch_is_finished():
    assert trainer(batches(10), loss_fn=Loss(3)).fit(steps=STEPS).step == 3


def test_a_signal_after_a_step_drops_nothing(tmp_path: Path):
    class Stop(Callback):
        def after_step(self, trainer: Trainer, step: Step) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    loader = Loader(0)
    assert trainer(loader, Stop(), accumulate=ACCUMULATE).fit(steps=STEPS).step == 1
    assert loader.count == ACCUMULATE


def test_what_a_forward_writes_is_taken_back():
    model = Small()
    mark = Mark.of(Feed(batches(2)), model)
    before = {name: value.clone() for name, value in model.named_buffers()}
    mean_loss(model(batches(1)[0]["x"]), batches(1)[0]).backward()
    assert any(not torch.equal(value, before[name]) for name, value in model.named_buffers())
    mark.put_back(model)
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert all(value.grad is None for value in model.parameters())
