"""What a tracker of the run config is: where the lines of a run go beside its own files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol

from flexit.errors import UserError
from flexit.ir.language.kinds import Kind


@dataclass(frozen=True, slots=True)
class Opening:
    """What a tracker is opened for.

    Attributes:
        out: the run folder.
        settings: of the run, as JSON data.
        step: updates made.
        known: what the tracker calls the run, where it has begun before.
    """

    out: Path
    settings: Mapping[str, Any]
    step: int
    known: str | None


class Writer(Protocol):
    """A tracker that is open.

    Attributes:
        name: what it calls the run.
    """

    name: str

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Send numbers of a step."""
        ...

    def close(self) -> None:
        """The run is over, or is left."""
        ...


class Tracker(Kind, family="Tracker", package="flexit.runtime.train.trackers"):
    """Where the lines of a run go beside its own files."""

    library: ClassVar[str] = ""
    """The module that it needs."""
    package_name: ClassVar[str] = ""
    """What installs it."""
    replaces: ClassVar[bool] = False
    """Whether it drops by itself what a run that was killed wrote after the step at which it goes on."""

    def lacks(self) -> str | None:
        """What is to be installed for it, if its library is not there."""
        return None if find_spec(self.library) else self.package_name

    def require(self) -> None:
        """Raise unless its library is there.

        Raises:
            UserError: FX1608.
        """
        if self.lacks() is not None:
            raise UserError.of(
                "FX1608", f"{self.kind} needs {self.package_name}, which is not installed", path=f"track.{self.kind}",
                expected=self.package_name, found="nothing of this name", cure=f"pip install {self.package_name}",
            )  # fmt: skip

    def open(self, given: Opening) -> Writer:
        """Begin, or go on with, what it keeps of a run."""
        raise NotImplementedError
