"""Learning rate and decay by what a parameter is for or what it is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar

from flexit.ir.language.kinds import INFERRED, Group, PositiveFloat
from flexit.ir.program import Param, Role
from flexit.runtime.train.fields import NotNegativeFloat


class ParameterGroup(Group):
    """Parameters with a learning rate and decay of their own."""

    examples: ClassVar = ({"role": "embedding", "lr_factor": 0.5},)

    match: str | None = None
    """A pattern of parameter names; ``*`` is any text, dots too."""
    role: Role | None = None
    """What the parameters are for."""
    lr_factor: PositiveFloat = 1.0
    """Times the learning rate."""
    weight_decay: Annotated[NotNegativeFloat | None, INFERRED] = None
    """Decay of all of them; inferred: as without the entry."""

    def holds(self, path: str, role: str) -> bool:
        """Whether a parameter is meant."""
        named = self.match is None or fnmatchcase(path, self.match)
        return named and (self.role is None or self.role == role)


def entry_of(groups: Sequence[ParameterGroup], path: str, role: str) -> int | None:
    """The first entry that means a parameter, or None."""
    return next((index for index, group in enumerate(groups) if group.holds(path, role)), None)


def idle(groups: Sequence[ParameterGroup], params: Iterable[Param]) -> Iterator[tuple[int, bool]]:
    """Entries that get no parameter, and whether earlier ones took all that they mean."""
    learned = [param for param in params if param.trained]
    taken = {entry_of(groups, param.path, param.role) for param in learned}
    for index, group in enumerate(groups):
        if index not in taken:
            yield index, any(group.holds(param.path, param.role) for param in learned)
