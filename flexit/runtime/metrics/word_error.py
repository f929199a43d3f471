"""``word_error``: the share of texts that were not generated exactly, as it is told of pronunciations of words."""

from __future__ import annotations

from typing import ClassVar

from flexit.runtime.metric import Evidence, Metric, Texts
from flexit.runtime.metrics.exact_match import exact_match


class WordError(Metric, kind="word_error"):
    """One minus the exact match: of words and their pronunciations, the share of words that are wrong."""

    formula: ClassVar[str] = "1 - exact_match"
    reads: ClassVar[tuple[Evidence, ...]] = ("texts",)
    higher: ClassVar[bool] = False

    def of(self, seen: Texts) -> float:
        return 1 - exact_match(seen)
