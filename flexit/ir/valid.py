"""Which slots of a length are no padding, said by where the length comes from; for those who look at results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Given:
    """Those that a graph input, a mask, marks."""

    mask: str


@dataclass(frozen=True, slots=True)
class Counted:
    """All of so many."""

    count: int


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of ``factor`` neighbours of which one is."""

    of: Valid
    factor: int


@dataclass(frozen=True, slots=True)
class Joined:
    """Those of several lengths, one after the other."""

    parts: tuple[Valid, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Those in a range, as Python slices."""

    of: Valid
    start: int
    stop: int | None


Valid = Given | Counted | Groups | Joined | Part
