"""``perplexity``: e to the mean of -ln p over the labels."""

from __future__ import annotations

from math import exp
from typing import ClassVar

from flexit.runtime.metric import Evidence, Likelihood, Metric


class Perplexity(Metric, kind="perplexity"):
    """e to the mean of -ln p over the labels, smoothing and side terms left out."""

    formula: ClassVar[str] = "exp(mean(-ln p))"
    source: ClassVar[str] = "Jelinek et al. 1977"
    usual: ClassVar[bool] = True
    reads: ClassVar[tuple[Evidence, ...]] = ("likelihood", "bytes")
    higher: ClassVar[bool] = False

    def of(self, seen: Likelihood) -> float:
        loss = seen.nats / seen.count
        return exp(loss) if loss < 700 else float("inf")
