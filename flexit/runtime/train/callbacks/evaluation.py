"""Looks at the held-out text now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexit.runtime.train.callbacks.callback import Callback

if TYPE_CHECKING:
    from flexit.runtime.train.trainer import Trainer
    from flexit.runtime.train.update.step import Step


class Evaluation(Callback):
    """Evaluates every ``every`` steps, and after the last."""

    def __init__(self, *, every: int, max_batches: int | None = None) -> None:
        self.every = every
        self.max_batches = max_batches

    def after_step(self, trainer: Trainer, step: Step) -> None:
        if step.number % self.every == 0 or step.number == trainer.steps:
            trainer.evaluate(max_batches=self.max_batches)
