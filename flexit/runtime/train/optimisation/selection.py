"""Parameters that a run config means by name, by what they are for, or by both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import ClassVar

from flexit.ir.language.kinds import Group
from flexit.ir.program import Param, Role


class Selection(Group):
    """Parameters by name, by role, or by both."""

    examples: ClassVar = ({"role": "embedding"}, {"match": "decoder.layers.0.*"})

    match: str | None = None
    """A pattern of parameter names; ``*`` is any text, dots too."""
    role: Role | None = None
    """What the parameters are for."""

    @property
    def said(self) -> str:
        """What was written."""
        found = (f"{key}: {value}" for key in ("match", "role") if (value := getattr(self, key)) is not None)
        return ", ".join(found) or "neither match nor role"

    def holds(self, param: Param) -> bool:
        """Whether a parameter is meant; one that says nothing means none."""
        if self.match is None and self.role is None:
            return False
        named = self.match is None or fnmatchcase(param.path, self.match)
        return named and (self.role is None or self.role == param.role)


def selected(selections: Sequence[Selection], params: Iterable[Param]) -> list[str]:
    """Paths of the parameters that any of the entries means, in their order."""
    return [param.path for param in params if any(entry.holds(param) for entry in selections)]
