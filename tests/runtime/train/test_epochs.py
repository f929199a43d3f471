"""Passes over the data: every batch once in each, whatever an update takes; loaders that come only once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from flexit.errors import UserError
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.schedules.linear import Linear
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.step import Step
from tests.runtime.train.plain import batches, mean_loss, trainer


class Seen:
    """The loss, which notes the number of each batch."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __call__(self, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        self.numbers.append(int(batch["x"][0, 0]))
        return mean_loss(outputs, batch)


class Groups(Callback):
    """Notes which batches each update had."""

    def __init__(self, seen: Seen) -> None:
        self.seen, self.groups, self.rates = seen, [], []

    def after_step(self, trainer: Trainer, step: Step) -> None:
        self.groups.append(self.seen.numbers[sum(map(len, self.groups)) :])
        self.rates.append(step.lr)


def watched(loader: Any, **settings: Any) -> tuple[Trainer, Groups]:
    seen = Seen()
    groups = Groups(seen)
    return trainer(loader, groups, loss_fn=seen, **settings), groups


@pytest.mark.parametrize(
    ("accumulate", "one_pass"),
    [(1, [[0], [1], [2], [3], [4]]), (2, [[0, 1], [2, 3], [4]]), (3, [[0, 1, 2], [3, 4]]), (5, [[0, 1, 2, 3, 4]])],
)
def test_each_pass_has_every_batch_once(accumulate: int, one_pass: list[list[int]]):
    run, groups = watched(batches(5), accumulate=accumulate)
    assert run.fit(epochs=2).step == 2 * len(one_pass)
    assert groups.groups == one_pass * 2


def test_steps_take_batches_without_end():
    run, groups = watched(batches(5), accumulate=2)
    run.fit(steps=5)
    assert groups.groups == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]


@pytest.mark.parametrize("before", [1, 2, 3, 4])
def test_passes_count_from_the_beginning(before: int):
    """After steps that leave it within a pass, that pass is gone on with."""
    run, groups = watched(batches(5), accumulate=2)
    run.fit(steps=before)
    run.fit(epochs=2)
    assert [number for group in groups.groups for number in group] == [0, 1, 2, 3, 4] * 2
    step = run.step
    assert run.fit(epochs=2).step == step
    assert run.fit(epochs=3).step == step + 3
    assert groups.groups[step:] == [[0, 1], [2, 3], [4]]


def test_a_pass_that_was_resumed(tmp_path: Any):
    run, _ = watched(batches(5), accumulate=2, out=tmp_path)
    run.fit(steps=2)
    again, groups = watched(batches(5), accumulate=2, out=tmp_path)
    again.resume()
    assert again.fit(epochs=2).step == 6
    assert groups.groups == [[4], [0, 1], [2, 3], [4]]


def test_the_schedule_knows_the_last_step():
    run, groups = watched(batches(5), accumulate=2, schedule=Linear())
    run.fit(epochs=2)
    assert groups.rates == pytest.approx([0.1 * left / 6 for left in (5, 4, 3, 2, 1, 0)])


def test_a_last_update_of_fewer_batches_is_their_mean():
    """With plain descent: the step is that of the one batch that is left."""
    seen: list[Tensor] = []

    class Keep(Callback):
        def after_step(self, trainer: Trainer, step: Step) -> None:
            seen.append(torch.tensor([step.loss, step.tokens]))

    trainer(batches(3), Keep(), accumulate=2).fit(epochs=1)
    assert [int(tokens) for _, tokens in seen] == [4, 2]


# ---- loaders


def generated(count: int) -> Iterator[dict[str, Tensor]]:
    yield from batches(count)


class Sized:
    """Says how many batches it has, and gives them once."""

    def __init__(self, count: int) -> None:
        self.count, self.left = count, generated(count)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return iter(self.left)


def test_passes_over_a_generator():
    with pytest.raises(UserError, match=r"FX1704 fit\.epochs: .*\n.*found a generator, which is exhausted after"):
        trainer(generated(3)).fit(epochs=2)


def test_passes_without_a_length():
    class Endless(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return generated(3)

    loader = torch.utils.data.DataLoader(Endless(), batch_size=None)
    with pytest.raises(UserError, match=r"FX1704 fit\.epochs: .*\n.*found a DataLoader without one"):
        trainer(loader).fit(epochs=2)
    assert trainer(loader).fit(steps=7).step == 7


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_generator_that_is_exhausted(accumulate: int):
    run = trainer(generated(4), accumulate=accumulate)
    with pytest.raises(UserError, match="the training loader is exhausted") as caught:
        run.fit(steps=9)
    assert caught.value.code == "FX1704"
    assert "expected batches in pass 2 too; found none, after 4 batches in pass 1" in str(caught.value)
    assert "not a generator; or train fewer steps" in str(caught.value)
    assert run.step == 4 // accumulate


def test_a_loader_with_a_length_that_is_exhausted():
    run = trainer(Sized(3), accumulate=2)
    with pytest.raises(UserError, match="found none, after 3 batches in pass 1"):
        run.fit(epochs=2)
    assert run.step == 2


def test_a_generator_that_is_long_enough():
    assert trainer(generated(4), accumulate=2).fit(steps=2).step == 2
