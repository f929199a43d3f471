"""``tensorboard``: event files in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from flexit.runtime.train.tracker import Opening, Tracker, Writer

FOLDER = "tensorboard"


class TensorBoard(Tracker, kind="tensorboard"):
    """Event files under ``tensorboard/`` in the run folder; a run that goes on hides what came after its step."""

    usual: ClassVar[bool] = True
    library: ClassVar[str] = "tensorboard"
    package_name: ClassVar[str] = "flexit-ml[train]"
    replaces: ClassVar[bool] = True

    def open(self, given: Opening) -> Writer:
        return _Events(given)


class _Events:
    def __init__(self, given: Opening) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.name = FOLDER
        purge = given.step + 1 if given.known is not None else None
        self._writer = SummaryWriter(str(given.out / FOLDER), purge_step=purge)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
