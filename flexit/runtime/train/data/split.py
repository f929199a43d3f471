"""What is held out, chosen by the hash of the contents: equal examples lie together, whatever order they came in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


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


class Settled(NamedTuple):
    """Contents whose side is settled, since another source has them too.

    Attributes:
        hashes: of the contents, each once and rising.
        kept: how many numbers of each are trained on; of rows 1 or 0.
    """

    hashes: Hashes
    kept: Numbers

    def known(self, hashes: Hashes) -> tuple[npt.NDArray[np.bool_], Numbers]:
        """Which of some contents are settled, and how many of their numbers are trained on (0 of the others)."""
        if len(self.hashes) == 0:
            return np.zeros(len(hashes), bool), np.zeros(len(hashes), np.int64)
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        known = self.hashes[places] == hashes
        return known, np.where(known, self.kept[places], 0)


NOTHING = Settled(np.zeros(0, np.uint64), np.zeros(0, np.int64))


def in_several(sources: Sequence[Hashes]) -> Hashes:
    """The contents that more than one source has, each once and rising."""
    found, counts = np.unique(np.concatenate([np.unique(each) for each in sources]), return_counts=True)
    return found[counts > 1]


def kept_rows(hashes: Hashes, share: float | None, *, settled: Settled = NOTHING) -> Numbers:
    """1 for each row to train on, 0 for each that is held out: as near to a share as leaves rows of one hash together.

    Args:
        hashes: of the rows.
        share: of all rows, held out; None: nothing.
        settled: rows whose side is no longer to be chosen.
    """
    known, kept = settled.known(hashes)
    free = np.flatnonzero(~known)
    order = free[np.argsort(hashes[free], kind="stable")]
    wanted = len(hashes) - (0 if share is None else round(len(hashes) * share)) - int(kept.sum())
    kept[order[: _border(hashes[order], int(np.clip(wanted, 0, len(order))))]] = 1
    return kept


def split_rows(hashes: Hashes, share: float | None, *, settled: Settled = NOTHING) -> tuple[Numbers, Numbers]:
    """Rows to train on, and rows that are held out, as :func:`kept_rows` has them."""
    kept = kept_rows(hashes, share, settled=settled)
    return np.flatnonzero(kept), np.flatnonzero(kept == 0)


def _border(ordered: Hashes, wanted: int) -> int:
    """The place nearest to a wanted one where the hash changes; an end only where it is wanted, or all are equal."""
    inside = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if wanted in (0, len(ordered)) or len(inside) == 0:
        return 0 if wanted == 0 else len(ordered)
    return int(inside[np.argmin(np.abs(inside - wanted))])


def kept_tokens(tokens: Documents, hashes: Hashes, share: float | None, *, settled: Settled = NOTHING) -> Numbers:
    """How many tokens of each document are trained on; the rest, a share of all tokens, is held out.

    One document is cut for it, and where there are more like that one, each in the same place.

    Args:
        tokens: of all documents.
        hashes: of the documents.
        share: of all tokens, held out; None: nothing.
        settled: documents that are no longer to be chosen.
    """
    known, kept = settled.known(hashes)
    free = np.flatnonzero(~known)
    order = free[np.argsort(hashes[free], kind="stable")]
    lengths, total = tokens.lengths, int(tokens.lengths.sum())
    left = total - (0 if share is None else round(total * share)) - int(kept.sum())
    ends = np.cumsum(lengths[order])
    inside = np.clip(left - (ends - lengths[order]), 0, lengths[order])
    cut = int(np.searchsorted(ends, left, side="right"))
    if cut < len(order):
        alike = np.flatnonzero(hashes[order] == hashes[order[cut]])
        inside[alike] = -(-int(inside[alike].sum()) // len(alike))
    kept[order] = inside
    return kept


def split_tokens(
    tokens: Documents, hashes: Hashes, share: float | None, *, settled: Settled = NOTHING
) -> tuple[Pieces, Pieces]:
    """Documents to train on, and documents that are held out, in the order of their hashes (:func:`kept_tokens`)."""
    order = np.argsort(hashes, kind="stable")
    starts, lengths = tokens.starts[:-1][order], tokens.lengths[order]
    inside = kept_tokens(tokens, hashes, share, settled=settled)[order]
    return _some(Pieces(starts, inside)), _some(Pieces(starts + inside, lengths - inside))


def _some(pieces: Pieces) -> Pieces:
    """Without those that are empty."""
    there = pieces.lengths > 0
    return Pieces(pieces.starts[there], pieces.lengths[there])
