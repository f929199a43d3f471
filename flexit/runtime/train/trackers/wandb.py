"""``wandb``: Weights & Biases."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from flexit.runtime.train.tracker import Opening, Tracker, Writer


class WandB(Tracker, kind="wandb"):
    """Weights & Biases, by its library and with the login that it has."""

    library: ClassVar[str] = "wandb"
    package_name: ClassVar[str] = "wandb"

    project: str = "flexit"
    """The project."""
    name: str | None = None
    """What the run is called; null: as its folder."""
    mode: Literal["online", "offline"] = "online"
    """Whether it is sent at once, or kept in the run folder until `wandb sync` sends it."""

    def open(self, given: Opening) -> Writer:
        return _Run(self, given)


class _Run:
    def __init__(self, tracker: WandB, given: Opening) -> None:
        wandb: Any = importlib.import_module("wandb")
        self._run = wandb.init(
            project=tracker.project, name=tracker.name or given.out.resolve().name, id=given.known, resume="allow",
            mode=tracker.mode, dir=str(given.out), config=dict(given.settings),
        )  # fmt: skip
        self.name = str(self._run.id)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
