"""Ends a run after some time, so that it can go on another time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flexit.runtime.train.callbacks.callback import Callback

if TYPE_CHECKING:
    from flexit.runtime.train.trainer import Trainer
    from flexit.runtime.train.update.step import Step

LIMIT = "limit.minutes"
"""What a run says that it was stopped by."""


class TimeLimit(Callback):
    """Stops after the step in which the time since the start of this call is over."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._until = 0.0

    def start(self, trainer: Trainer) -> None:
        del trainer
        self._until = time.monotonic() + 60 * self.minutes

    def after_step(self, trainer: Trainer, step: Step) -> None:
        if time.monotonic() >= self._until and step.number < trainer.steps:
            trainer.stop(by=LIMIT)
