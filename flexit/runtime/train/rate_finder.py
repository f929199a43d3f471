"""Which learning rate to train with: the loss while the rate grows from step to step (Smith 2017, arXiv 1506.01186)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from flexit.errors import UserError
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.callbacks.checkpoints import Checkpoints
from flexit.runtime.train.callbacks.evaluation import Evaluation
from flexit.runtime.train.config import Checkpoint, Evaluate, RunConfig
from flexit.runtime.train.optimisation.optimizer import Misfit
from flexit.runtime.train.optimisation.schedule import Schedule
from flexit.runtime.train.policies.stop import Stop
from flexit.runtime.train.resources.launch import require_alone
from flexit.runtime.train.run import Plan, make_plan, make_trainer, prepare

if TYPE_CHECKING:
    from flexit.runtime.train.trainer import Trainer
    from flexit.runtime.train.update.step import Step

NEVER = 2**31 - 1
SMOOTHING = 0.9
"""Share of the old mean in the smoothed loss."""
BLOWN_UP = 4.0
"""How many times the lowest smoothed loss ends the sweep."""


class Exponential(Schedule):
    """A rate that grows by the same factor in each step; of this sweep alone, no kind of the run config."""

    first: float
    """Factor of the first step."""
    last: float
    """Factor of the last step."""

    def factor(self, step: int, steps: int) -> float:
        return self.first * (self.last / self.first) ** (step / max(1, steps - 1))

    def misfits(self, steps: int) -> Iterator[Misfit]:
        del steps
        yield from ()


@dataclass(frozen=True, slots=True)
class Sweep:
    """The losses of a sweep.

    Attributes:
        rates: learning rates, growing.
        losses: of the update that was made with each, before it.
        smoothed: moving means of the losses, without their bias towards the first.
        proposed: the rate where the smoothed loss falls most steeply with the logarithm of the rate, before it is
            lowest; None where it does not fall.
        lowest: the rate where the smoothed loss is lowest.
        ended: whether the loss blew up before the last rate.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    smoothed: Sequence[float]
    proposed: float | None
    lowest: float
    ended: bool


class _Watch(Callback):
    """Notes rates and losses, and ends the sweep when the loss blows up."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.ended = False

    def after_step(self, trainer: Trainer, step: Step) -> None:
        self.rates.append(step.lr)
        self.losses.append(step.loss)
        now = smoothed(self.losses)
        if now[-1] > BLOWN_UP * min(now):
            self.ended = True
            trainer.stop()


def find_rate(
    config_path: str | Path, *, low: float = 1e-7, high: float = 1.0, steps: int = 100, sets: Sequence[str] = (),
    allow_memory: bool = False, progress: bool = True,
) -> Sweep:  # fmt: skip
    """Sweep the learning rate of a run config, on a model, an optimizer and data of their own.

    Nothing of the run's folder is read or changed.

    Args:
        config_path: the run config.
        low: first rate.
        high: last rate.
        steps: updates.
        sets: overrides of the run config.
        allow_memory: start although the predicted memory is not there.
        progress: show what is done.

    Raises:
        UserError: FX1533, the bounds cannot be used; anything that a run raises before its first step.
    """
    require_bounds(low, high, steps)
    require_alone("a sweep of learning rates")
    plan = make_plan(config_path, sets=sets, allow_memory=allow_memory)
    with TemporaryDirectory(prefix="flexit-find-lr-") as folder:
        plan = replace(plan, config=_swept(plan.config, low, high, steps=steps, out=folder))
        watch = _Watch()
        trainer = _trainer(plan, watch, progress=progress)
        try:
            trainer.fit(steps=steps)
        except UserError as error:
            if error.code != "FX1701" or not watch.rates:
                raise
            watch.ended = True
    return proposed(watch.rates, watch.losses, ended=watch.ended)


def _trainer(plan: Plan, watch: _Watch, *, progress: bool) -> Trainer:
    trainer = make_trainer(plan, prepare(plan), callbacks=[watch], progress=progress)
    trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, Checkpoints | Evaluation)]
    return trainer


def _swept(config: RunConfig, low: float, high: float, *, steps: int, out: str) -> RunConfig:
    """The run config of the sweep: the same model, data, optimizer and batches, and nothing around them."""
    rate: Any = config.optimizer
    evaluate = None if config.evaluate is None else Evaluate(every=NEVER, max_batches=1, metrics=[])
    schedule = Exponential.model_construct(warmup=0, first=low / rate.lr, last=high / rate.lr)
    return config.model_copy(
        update={
            "schedule": schedule, "steps": steps, "out": out,
            "evaluate": evaluate, "early_stopping": None, "limit": None, "track": [], "sample": None,
            "statistics": None, "ema": None, "non_finite": Stop(), "checkpoint": Checkpoint(every=NEVER),
        }
    )  # fmt: skip


def require_bounds(low: float, high: float, steps: int) -> None:
    """Raise unless a sweep can go from one rate to another.

    Raises:
        UserError: FX1533.
    """
    if not (0 < low < high and math.isfinite(high)) or steps < 10:
        raise UserError.of(
            "FX1533", "no sweep goes so", path="--low, --high, --steps",
            expected="0 < low < high, and 10 steps or more", found=f"{low:g} to {high:g} in {steps} steps",
            cure="leave them out, or correct them",
        )  # fmt: skip


def smoothed(losses: Sequence[float]) -> list[float]:
    """Moving means, each divided by the sum of its weights."""
    found: list[float] = []
    mean = 0.0
    for count, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**count))
    return found


def proposed(rates: Sequence[float], losses: Sequence[float], *, ended: bool) -> Sweep:
    """What a sweep says.

    Args:
        rates: growing.
        losses: of each.
        ended: whether it blew up.
    """
    means = smoothed(losses)
    lowest = int(np.argmin(means))
    best: float | None = None
    if lowest >= 2:
        slopes = np.gradient(np.array(means[: lowest + 1]), np.log(np.array(rates[: lowest + 1])))
        steepest = int(np.argmin(slopes))
        best = rates[steepest] if slopes[steepest] < 0 else None
    return Sweep(list(rates), list(losses), means, best, rates[lowest], ended)
