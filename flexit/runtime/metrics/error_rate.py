"""``error_rate``: how many tokens, words or characters must change to make the texts the right ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from flexit.runtime.metric import Evidence, Metric, Texts

Unit = Literal["tokens", "words", "characters"]


class ErrorRate(Metric, kind="error_rate"):
    """Insertions, deletions and replacements that make all texts the right ones, for each unit of these."""

    formula: ClassVar[str] = "sum(edit distance) / sum(length of the right one)"
    source: ClassVar[str] = "Levenshtein 1966"
    reads: ClassVar[tuple[Evidence, ...]] = ("texts",)
    higher: ClassVar[bool] = False

    unit: Unit = "tokens"
    """What is counted: tokens of the tokenizer, words (what stands between spaces, such as phonemes), characters."""

    @property
    def name(self) -> str:
        return f"{self.unit.removesuffix('s')}_error_rate"

    def of(self, seen: Texts) -> float:
        pairs: Any = zip(seen.found_ids, seen.wanted_ids, strict=True)
        if self.unit != "tokens":
            pairs = zip(map(self._cut, seen.found), map(self._cut, seen.wanted), strict=True)
        edits = length = 0
        for found, wanted in pairs:
            edits, length = edits + edit_distance(found, wanted), length + len(wanted)
        return edits / length if length else float("nan")

    def _cut(self, text: str) -> list[str]:
        return text.split() if self.unit == "words" else list(text)


def edit_distance(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Fewest insertions, deletions and replacements that make one sequence the other (Wagner and Fischer 1974)."""
    row = list(range(len(other) + 1))
    for count, item in enumerate(one, 1):
        before, row[0] = row[0], count
        for place, wanted in enumerate(other, 1):
            before, row[place] = row[place], min(before + (item != wanted), row[place] + 1, row[place - 1] + 1)
    return row[-1]
