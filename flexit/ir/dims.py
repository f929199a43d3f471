"""Symbolic lengths: an int, or an affine expression of length symbols. Nothing here knows about ops or blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Division:
    """``ceil(of / by)``, an atom of an affine expression."""

    of: Dim
    by: int

    def __str__(self) -> str:
        return f"ceil({self.of} / {self.by})"


@dataclass(frozen=True, slots=True)
class Clipped:
    """``max(of, 0)``, an atom of an affine expression."""

    of: Dim

    def __str__(self) -> str:
        return f"max({self.of}, 0)"


Atom = str | Division | Clipped


@dataclass(frozen=True, slots=True)
class Dim:
    """``sum(coefficient * atom) + constant``; an atom is a symbol's name, a :class:`Division` or :class:`Clipped`.

    Always normalised (atoms sorted, no zero coefficient, at least one atom), so equal expressions are equal objects.
    Arithmetic returns a plain int as soon as no symbol is left.
    """

    terms: tuple[tuple[Atom, int], ...]
    constant: int = 0

    def __add__(self, other: Size) -> Size:
        return _sum(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Size) -> Size:
        return _sum(self, other, -1)

    def __rsub__(self, other: int) -> Size:
        return _sum(_scaled(self, -1), other, 1)

    def __mul__(self, factor: int) -> Size:
        return _scaled(self, factor)

    __rmul__ = __mul__

    def __str__(self) -> str:
        text = ""
        for atom, count in sorted(self.terms, key=lambda term: (term[1] < 0, str(term[0]))):
            sign = " - " if count < 0 else " + "
            size = str(atom) if abs(count) == 1 else f"{abs(count)}*{atom}"
            text += (sign if text else ("-" if count < 0 else "")) + size
        if self.constant:
            text += f" {'+' if self.constant > 0 else '-'} {abs(self.constant)}"
        return text

    @property
    def symbols(self) -> frozenset[str]:
        """Names of all symbols in the expression."""
        names: set[str] = set()
        for atom, _ in self.terms:
            names |= {atom} if isinstance(atom, str) else atom.of.symbols
        return frozenset(names)

    @property
    def is_symbol(self) -> bool:
        """Whether this is one bare symbol."""
        return (
            self.constant == 0 and len(self.terms) == 1 and self.terms[0][1] == 1 and isinstance(self.terms[0][0], str)
        )


Size = int | Dim


def symbol(name: str) -> Dim:
    """The length called ``name``."""
    return Dim(((name, 1),))


def ceil_div(size: Size, by: int) -> Size:
    """``size / by`` rounded up; what divides exactly is taken out, so that equal lengths are equal expressions."""
    if isinstance(size, int):
        return -(-size // by)
    whole = {atom: count // by for atom, count in size.terms if count % by == 0}
    left = _normal({atom: count for atom, count in size.terms if count % by}, size.constant % by)
    rest = -(-left // by) if isinstance(left, int) else Dim(((Division(left, by), 1),))
    return _normal(whole, size.constant // by) + rest


def clip(size: Size) -> Size:
    """``max(size, 0)``."""
    if isinstance(size, int):
        return max(size, 0)
    low = _lowest(size)
    return size if low is not None and low >= 0 else Dim(((Clipped(size), 1),))


def between(length: Size, start: int, stop: int | None) -> tuple[Size, Size]:
    """Where Python's ``[start:stop]`` of a length begins and ends, counted from the front."""
    begin, end = _place(length, start), length if stop is None else _place(length, stop)
    return begin, begin + clip(end - begin)


def may_be_zero(size: Size) -> bool:
    """Whether it is zero for some lengths of the inputs, which are at least 1."""
    low = _lowest(size)
    return low is None or low <= 0


def _place(length: Size, index: int) -> Size:
    return clip(length + index) if index < 0 else length - clip(length - index)


def _lowest(size: Size) -> int | None:
    """A number that the size is never under, where one is known."""
    if isinstance(size, int):
        return size
    total = size.constant
    for atom, count in size.terms:
        if count < 0:
            return None
        total += count * _lowest_of(atom)
    return total


def _lowest_of(atom: Atom) -> int:
    if isinstance(atom, str):
        return 1
    low = _lowest(atom.of)
    if isinstance(atom, Clipped):
        return max(low or 0, 0)
    return -(-(low or 0) // atom.by)


def fixed(size: Size) -> int:
    """A size that no input decides, such as a width."""
    assert isinstance(size, int), f"{size} is known only when the model runs"
    return size


def symbols(size: Size) -> frozenset[str]:
    """Names of all symbols in ``size``."""
    return size.symbols if isinstance(size, Dim) else frozenset()


def evaluate(size: Size, lengths: Mapping[str, int]) -> int:
    """The value of ``size`` where every symbol has the length given.

    Raises:
        KeyError: a symbol has no length.
    """
    if isinstance(size, int):
        return size
    total = size.constant
    for atom, count in size.terms:
        total += count * _value(atom, lengths)
    return total


def _value(atom: Atom, lengths: Mapping[str, int]) -> int:
    if isinstance(atom, str):
        return lengths[atom]
    of = evaluate(atom.of, lengths)
    return max(of, 0) if isinstance(atom, Clipped) else -(-of // atom.by)


def _sum(left: Size, right: Size, sign: int) -> Size:
    counts: dict[Atom, int] = {}
    constant = 0
    for size, factor in ((left, 1), (right, sign)):
        if isinstance(size, int):
            constant += factor * size
            continue
        constant += factor * size.constant
        for atom, count in size.terms:
            counts[atom] = counts.get(atom, 0) + factor * count
    return _normal(counts, constant)


def _scaled(size: Dim, factor: int) -> Size:
    return _normal({atom: count * factor for atom, count in size.terms}, size.constant * factor)


def _normal(counts: Mapping[Atom, int], constant: int) -> Size:
    terms = tuple(sorted(((a, c) for a, c in counts.items() if c), key=lambda term: str(term[0])))
    return Dim(terms, constant) if terms else constant
