"""``trackio``: Hugging Face's tracker on this machine."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

from flexit.runtime.train.tracker import Opening, Tracker, Writer


class Trackio(Tracker, kind="trackio"):
    """Trackio, by its library: runs are kept on this machine and shown by `trackio show`."""

    library: ClassVar[str] = "trackio"
    package_name: ClassVar[str] = "trackio"

    project: str = "flexit"
    """The project."""
    name: str | None = None
    """What the run is called; null: as its folder."""

    def open(self, given: Opening) -> Writer:
        return _Run(self, given)


class _Run:
    def __init__(self, tracker: Trackio, given: Opening) -> None:
        self._trackio: Any = importlib.import_module("trackio")
        self.name = given.known or tracker.name or given.out.resolve().name
        self._trackio.init(project=tracker.project, name=self.name, config=dict(given.settings), resume="allow")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._trackio.log(dict(values), step=step)

    def close(self) -> None:
        self._trackio.finish()
