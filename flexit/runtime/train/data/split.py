"""What is held out, chosen by the hash of the contents: equal examples lie together, whatever order they came in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flexit.runtime.train.data.store import Column

Numbers = npt.NDArray[np.int64]


class Pieces(NamedTuple):
    """Parts of a column that are read one after the other.

    Attributes:
        starts: where each begins in the values of the column.
        lengths: how many values it has.
    """

    starts: Numbers
    lengths: Numbers


def split_rows(hashes: npt.NDArray[np.uint64], share: float | None) -> tuple[Numbers, Numbers]:
    """Rows to train on, and rows that are held out: a share of all of them."""
    order = np.argsort(hashes, kind="stable")
    held_out = 0 if share is None else round(len(order) * share)
    return np.sort(order[: len(order) - held_out]), np.sort(order[len(order) - held_out :])


def split_tokens(tokens: Column, hashes: npt.NDArray[np.uint64], share: float | None) -> tuple[Pieces, Pieces]:
    """Documents to train on, and documents that are held out: a share of all tokens, so that one document is cut."""
    order = np.argsort(hashes, kind="stable")
    every = Pieces(tokens.starts[order], tokens.lengths[order])
    total = int(every.lengths.sum())
    kept = total - (0 if share is None else round(total * share))
    ends = np.cumsum(every.lengths)
    before = ends - every.lengths
    inside = np.clip(kept - before, 0, every.lengths)
    training = Pieces(every.starts, inside)
    held_out = Pieces(every.starts + inside, every.lengths - inside)
    return _some(training), _some(held_out)


def _some(pieces: Pieces) -> Pieces:
    """Without those that are empty."""
    there = pieces.lengths > 0
    return Pieces(pieces.starts[there], pieces.lengths[there])
