"""``mixture``: several sources by weight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from flexit.ir.language.kinds import Group, PositiveFloat
from flexit.runtime.train.data.source import Leaf, Source


class Weighted(Group):
    """A source of a mixture."""

    examples: ClassVar = ({"weight": 0.7},)

    source: Source
    """Any source."""
    weight: PositiveFloat = 1.0
    """Its share of the rows is this over the sum of all weights."""


class Mixture(Source, kind="mixture"):
    """Several sources by weight."""

    examples: ClassVar = (
        {"sources": [{"source": {"kind": "text", "files": ["a/*.txt"]}, "weight": 0.7},
                     {"source": {"kind": "text", "files": ["b/*.txt"]}, "weight": 0.3}]},
    )  # fmt: skip

    sources: list[Weighted]
    """Two or more."""

    def mixtures(self, path: str) -> Iterator[tuple[str, Mixture]]:
        """This and those in it, each with the path where it stands.

        Args:
            path: of this one.
        """
        yield path, self
        for index, each in enumerate(self.sources):
            if isinstance(each.source, Mixture):
                yield from each.source.mixtures(f"{path}.sources.{index}.source")

    def leaves(self, path: str, weight: float = 1.0) -> Iterator[Leaf]:
        total = sum(each.weight for each in self.sources)
        for index, each in enumerate(self.sources):
            yield from each.source.leaves(f"{path}.sources.{index}.source", weight * each.weight / total)
