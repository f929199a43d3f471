"""Notes each start of a trainer in ``environment.json`` of its run folder; ``flexit train`` does so itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.logbook import Entry

if TYPE_CHECKING:
    from flexit.runtime.train.trainer import Trainer


class Starts(Callback):
    """An entry for each call of ``fit`` that has steps to make, ended by whatever ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entry: Entry | None = None

    def start(self, trainer: Trainer) -> None:
        if trainer.step >= trainer.steps:
            return
        self._entry = Entry(self.folder, seed=trainer.config.seed, device=trainer.device)
        self._entry.begin(trainer.step)

    def end(self, trainer: Trainer) -> None:
        if self._entry is not None:
            self._entry.end(trainer)
            self._entry = None

    def close(self, trainer: Trainer) -> None:
        del trainer
        error = sys.exc_info()[1]
        if self._entry is not None and error is not None:
            self._entry.fail(error)
        self._entry = None
