"""``pearson``: how well numbers lie on a line with the right ones."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from flexit.runtime.metric import Evidence, Floats, Metric, Numbers


class Pearson(Metric, kind="pearson"):
    """Pearson's correlation of the numbers with the right ones; none where either are all equal."""

    formula: ClassVar[str] = "cov(x, y) / (std(x) std(y))"
    source: ClassVar[str] = "Pearson 1895"
    reads: ClassVar[tuple[Evidence, ...]] = ("numbers",)

    def of(self, seen: Numbers) -> float:
        return correlation(seen.found, seen.wanted)


def correlation(one: Floats, other: Floats) -> float:
    """Pearson's correlation, in float64."""
    x, y = (values.astype(np.float64) - values.astype(np.float64).mean() for values in (one, other))
    scale = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / scale) if scale else float("nan")
