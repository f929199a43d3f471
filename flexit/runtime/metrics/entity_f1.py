"""``entity_f1``: F1 of whole entities, of which words have the tags B and I."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from flexit.ir.block import Fault
from flexit.runtime.metric import Evidence, Labels, Metric

TAG = re.compile(r"O|[BI]-.+")
Entity = tuple[str, int, int]
"""Its type, and its first word and the one after its last."""


class EntityF1(Metric, kind="entity_f1"):
    """F1 of all entities together: those of the right type, begin and end (Tjong Kim Sang and De Meulder 2003).

    Tags are in IOB2, read strictly: an entity begins with ``B-TYPE`` and goes on with ``I-TYPE``; an I that follows
    neither is of none. It is what seqeval computes with ``mode="strict"``.
    """

    source: ClassVar[str] = "Tjong Kim Sang and De Meulder 2003 (CoNLL-2003)"
    reads: ClassVar[tuple[Evidence, ...]] = ("tags",)

    def misfits(self, names: Sequence[str]) -> Iterator[Fault]:
        other = [name for name in names if not TAG.fullmatch(name)]
        if other:
            yield Fault(
                code="FX1530", field="", message="the classes are no tags of entities",
                expected="O, B-TYPE and I-TYPE alone", found=", ".join(other[:8]),
                cure="delete entity_f1, or name the classes as tags",
            )  # fmt: skip

    def of(self, seen: Labels) -> float:
        right = found = wanted = 0
        for one, other in zip(seen.found, seen.wanted, strict=True):
            mine, theirs = (set(entities([seen.names[int(each)] for each in row])) for row in (one, other))
            right, found, wanted = right + len(mine & theirs), found + len(mine), wanted + len(theirs)
        return 2 * right / (found + wanted) if found + wanted else float("nan")


def entities(tags: Sequence[str]) -> Iterator[Entity]:
    """The entities of a row of tags."""
    start: tuple[str, int] | None = None
    for place, tag in enumerate([*tags, "O"]):
        if start is not None and tag != f"I-{start[0]}":
            yield (*start, place)
            start = None
        if tag.startswith("B-"):
            start = (tag[2:], place)
