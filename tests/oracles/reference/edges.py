"""What runs along edges: arrays, and the three positions of each slot."""

from dataclasses import dataclass

import numpy as np


@dataclass(eq=False)
class Axis:
    """Slots of a row. Two sequences are on one length if they share their axis.

    Attributes:
        mask: whether a slot is no padding.
        rank: unpadded slots before it.
        position: position id: as passed, else the rank.
        passed: whether the caller gave position ids.
        prefix: how many tokens are each row's prefix, as passed, else none.
    """

    mask: np.ndarray
    rank: np.ndarray
    position: np.ndarray
    passed: bool = False
    prefix: np.ndarray | None = None

    @property
    def rows(self):
        return self.mask.shape[0]

    @property
    def length(self):
        return self.mask.shape[1]


def axis_of(mask, position_ids=None, prefix=None):
    """Ranks by counting, position ids as passed and else the ranks."""
    prefix = np.zeros(mask.shape[0], np.int64) if prefix is None else prefix
    rank = np.zeros(mask.shape, np.int64)
    for row in range(mask.shape[0]):
        for slot in range(mask.shape[1]):
            rank[row, slot] = sum(int(mask[row, before]) for before in range(slot))
    if position_ids is None:
        return Axis(np.asarray(mask, bool), rank, rank, prefix=prefix)
    return Axis(np.asarray(mask, bool), rank, np.asarray(position_ids), passed=True, prefix=prefix)


@dataclass(eq=False)
class Tokens:
    ids: np.ndarray
    axis: Axis


@dataclass(eq=False)
class Sequence:
    x: np.ndarray
    axis: Axis

    def of(self, x):
        return Sequence(x, self.axis)


@dataclass(eq=False)
class Vector:
    x: np.ndarray

    def of(self, x):
        return Vector(x)


@dataclass(eq=False)
class Logits:
    x: np.ndarray
    axis: Axis | None
