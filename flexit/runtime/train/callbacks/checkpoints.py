"""Saves the run now and then, and removes checkpoints that are no longer wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexit.runtime.metric import LOSS
from flexit.runtime.train import checkpoint
from flexit.runtime.train.callbacks.callback import Callback

if TYPE_CHECKING:
    from flexit.runtime.train.step import Step
    from flexit.runtime.train.trainer import Trainer


class Checkpoints(Callback):
    """Saves every ``every`` steps and at the end, also at one that a signal asked for."""

    def __init__(self, *, every: int, keep_last: int, keep_best: int, best: str = LOSS) -> None:
        self.every = every
        self.keep_last = keep_last
        self.keep_best = keep_best
        self.best = best
        self._saved = -1

    def start(self, trainer: Trainer) -> None:
        trainer.judge.require_known("checkpoint.best", self.best)
        self._saved = trainer.step

    def after_step(self, trainer: Trainer, step: Step) -> None:
        if step.number % self.every == 0:
            trainer.save()

    def after_checkpoint(self, trainer: Trainer, folder: Path) -> None:
        self._saved = trainer.step
        checkpoint.retire(folder.parent, keep_last=self.keep_last, keep_best=self.keep_best, newest=folder)

    def end(self, trainer: Trainer) -> None:
        if self._saved != trainer.step:
            trainer.save()
