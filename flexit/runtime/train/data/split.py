"""What is held out, chosen by the hash of the contents: equal examples lie together, whatever order they came in."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


class Documents(Protocol):
    """Where documents lie among numbers that stand one after the other."""

    @property
    def starts(self) -> Numbers:
        """Where each begins, and where the last ends."""
        ...

    @property
    def lengths(self) -> Numbers:
        """How many numbers each has."""
        ...


class Pieces(NamedTuple):
    """Parts of a column that are read one after the other.

    Attributes:
        starts: where each begins in the values of the column.
        lengths: how many values it has.
    """

    starts: Numbers
    lengths: Numbers


def split_rows(hashes: npt.NDArray[np.uint64], share: float | None) -> tuple[Numbers, Numbers]:
    """Rows to train on, and rows that are held out: as near to a share of all as leaves rows of one hash together."""
    order = np.argsort(hashes, kind="stable")
    wanted = len(order) - (0 if share is None else round(len(order) * share))
    kept = _border(hashes[order], wanted)
    return np.sort(order[:kept]), np.sort(order[kept:])


def _border(ordered: npt.NDArray[np.uint64], wanted: int) -> int:
    """The place nearest to a wanted one where the hash changes; an end only where it is wanted, or all are equal."""
    inside = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if wanted in (0, len(ordered)) or len(inside) == 0:
        return 0 if wanted == 0 else len(ordered)
    return int(inside[np.argmin(np.abs(inside - wanted))])


def split_tokens(tokens: Documents, hashes: npt.NDArray[np.uint64], share: float | None) -> tuple[Pieces, Pieces]:
    """Documents to train on, and documents that are held out: a share of all tokens, so that one document is cut.

    Where there are more like that one, each is cut in the same place.
    """
    order = np.argsort(hashes, kind="stable")
    every = Pieces(tokens.starts[:-1][order], tokens.lengths[order])
    total = int(every.lengths.sum())
    kept = total - (0 if share is None else round(total * share))
    ends = np.cumsum(every.lengths)
    before = ends - every.lengths
    inside = np.clip(kept - before, 0, every.lengths)
    cut = int(np.searchsorted(ends, kept, side="right"))
    if cut < len(order):
        alike = np.flatnonzero(hashes[order] == hashes[order[cut]])
        inside[alike] = -(-int(inside[alike].sum()) // len(alike))
    training = Pieces(every.starts, inside)
    held_out = Pieces(every.starts + inside, every.lengths - inside)
    return _some(training), _some(held_out)


def _some(pieces: Pieces) -> Pieces:
    """Without those that are empty."""
    there = pieces.lengths > 0
    return Pieces(pieces.starts[there], pieces.lengths[there])
