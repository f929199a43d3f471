"""``recall``: how often the text that belongs to one is among the nearest."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from flexit.ir.language.kinds import PositiveInt
from flexit.runtime.metric import Evidence, Metric, Vectors

ROWS = 1024
"""Vectors that are compared with all others at once."""


class Recall(Metric, kind="recall"):
    """Recall at k: how often the text that belongs to one is among the k nearest of all held-out ones, by cosine.

    Of equally near ones the first count first.
    """

    reads: ClassVar[tuple[Evidence, ...]] = ("vectors",)
    usual: ClassVar[bool] = True

    k: PositiveInt = 1
    """How many are looked at."""

    @property
    def name(self) -> str:
        return f"recall_at_{self.k}"

    def of(self, seen: Vectors) -> float:
        ones, others = (each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12)
                        for each in (seen.ones.astype(np.float64), seen.others.astype(np.float64)))  # fmt: skip
        hits = 0
        for begin in range(0, len(ones), ROWS):
            near = ones[begin : begin + ROWS] @ others.T
            place = np.arange(begin, begin + len(near))
            own = near[np.arange(len(near)), place][:, None]
            nearer = (near > own) | ((near == own) & (np.arange(len(others)) < place[:, None]))
            hits += int((nearer.sum(axis=1) < self.k).sum())
        return hits / len(ones) if len(ones) else float("nan")
