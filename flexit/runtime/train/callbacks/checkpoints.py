"""Saves the run now and then, and removes checkpoints that are no longer wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.policies.rollback import Rollback
from flexit.runtime.train.resources.asked import Asked
from flexit.runtime.train.saving import checkpoint
from flexit.runtime.train.saving.saved_steps import regular

if TYPE_CHECKING:
    from flexit.runtime.train.config import Checkpoint
    from flexit.runtime.train.failures.mishaps import Failure
    from flexit.runtime.train.trainer import Trainer
    from flexit.runtime.train.update.step import Step


class Checkpoints(Callback):
    """Saves every ``every`` steps, where it is asked to (:mod:`flexit.runtime.train.resources.asked`), and at the end,
    also at one that a signal asked for.
    """

    def __init__(self, config: Checkpoint) -> None:
        self.config = config
        self._saved = -1
        self._asked = Asked(None)

    def start(self, trainer: Trainer) -> None:
        trainer.judge.require_known("checkpoint.best", self.config.best)
        self._saved = trainer.step
        self._asked = Asked(trainer.out)
        self._asked.watch()

    def after_step(self, trainer: Trainer, step: Step) -> None:
        if self._asked() or step.number % self.config.every == 0:
            trainer.save()

    def after_failure(self, trainer: Trainer, failure: Failure) -> None:
        if failure.answer == "rollback":  # checkpoints of later steps are gone
            self._saved = trainer.step

    def before_checkpoint(self, trainer: Trainer) -> None:
        del trainer
        self._asked.taken()

    def after_checkpoint(self, trainer: Trainer, folder: Path) -> None:
        self._saved = trainer.step
        keep = self.config
        back = isinstance(trainer.config.non_finite, Rollback)
        with checkpoint.telling_what_is_left(folder.parent, folder):
            self._asked.met()
            checkpoint.retire(
                folder.parent, keep_last=keep.keep_last, keep_best=keep.keep_best, keep_every=keep.keep_every,
                newest=folder, keep=regular(folder.parent, keep.every)[-1:] if back else [],
            )  # fmt: skip

    def end(self, trainer: Trainer) -> None:
        if self._saved != trainer.step:
            trainer.save()

    def close(self, trainer: Trainer) -> None:
        del trainer
        self._asked.leave()
