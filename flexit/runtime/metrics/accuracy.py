"""``accuracy``: the share of labels that were found."""

from __future__ import annotations

from typing import ClassVar

from flexit.runtime.metric import Evidence, Labels, Metric


class Accuracy(Metric, kind="accuracy"):
    """The share of classes, or of tokens, that were right."""

    reads: ClassVar[tuple[Evidence, ...]] = ("labels", "tokens")
    usual: ClassVar[bool] = True

    def of(self, seen: Labels) -> float:
        found, wanted = seen.flat()
        return float((found == wanted).mean())
