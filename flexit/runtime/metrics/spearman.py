"""``spearman``: how well numbers are in the order of the right ones."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from flexit.runtime.metric import Evidence, Floats, Metric, Numbers
from flexit.runtime.metrics.pearson import correlation


class Spearman(Metric, kind="spearman"):
    """Spearman's rank correlation of the numbers with the right ones; equal ones have their mean rank."""

    formula: ClassVar[str] = "pearson(rank(x), rank(y))"
    source: ClassVar[str] = "Spearman 1904"
    reads: ClassVar[tuple[Evidence, ...]] = ("numbers",)
    usual: ClassVar[bool] = True

    def of(self, seen: Numbers) -> float:
        return correlation(ranks(seen.found), ranks(seen.wanted))


def ranks(values: Floats) -> Floats:
    """The rank of each number from 1, equal ones with the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place].astype(np.float64)
