"""``exact_match``: the share of texts that were generated exactly."""

from __future__ import annotations

from typing import ClassVar

from flexit.runtime.metric import Evidence, Metric, Texts


class ExactMatch(Metric, kind="exact_match"):
    """The share of texts that are the right ones, character for character."""

    reads: ClassVar[tuple[Evidence, ...]] = ("texts",)

    def of(self, seen: Texts) -> float:
        return exact_match(seen)


def exact_match(seen: Texts) -> float:
    """The share of texts that are the right ones."""
    right = sum(one == other for one, other in zip(seen.found, seen.wanted, strict=True))
    return right / len(seen.wanted) if seen.wanted else float("nan")
