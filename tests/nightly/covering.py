"""A pairwise covering array: rows of settings in which every pair occurs that is legal in its frame.

A pair that no row has yet starts a row, if ``check`` accepts the frame with it alone; the row then takes in whatever
else brings new pairs and leaves it accepted. Which rows there are follows from the seed and from what is accepted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.fuzz.sample import check
from tests.nightly.frames import Data, Frame
from tests.nightly.knobs import Setting, document, merged, settings

Row = tuple[int, ...]
CHUNK = 8
"""How many settings are tried at once; where they do not go together, halves are."""


def legal(frame: Frame, row: Row) -> Data | None:
    """The document of some settings, None if they exclude each other or are refused."""
    known = settings(frame)
    parts = merged(known[index] for index in row)
    data = None if parts is None else document(frame, parts)
    return data if data is not None and check(data).valid else None


class Covering:
    """The array of a frame under construction.

    Attributes:
        left: pairs that no row has and that are not known to be refused, in the order in which they start rows.
        refused: pairs that are refused alone, or cannot be written.
    """

    def __init__(self, frame: Frame, seed: int) -> None:
        self.frame = frame
        self.known: tuple[Setting, ...] = settings(frame)
        count = len(self.known)
        pairs = [(one, two) for one in range(count) for two in range(one + 1, count)]
        random.Random(f"{frame.name} {seed}").shuffle(pairs)
        self.left = dict.fromkeys(pairs)
        self.refused: set[tuple[int, int]] = set()
        self.rng = random.Random(f"rows {frame.name} {seed}")

    def covered(self, row: Row) -> None:
        """Note the pairs of a row."""
        for at, one in enumerate(row):
            for two in row[at + 1 :]:
                self.left.pop((min(one, two), max(one, two)), None)

    def rows(self) -> Iterator[Row]:
        """Rows until no pair is left; those that were made before are noted by ``covered`` first."""
        while self.left:
            pair = next(iter(self.left))
            del self.left[pair]
            if legal(self.frame, pair) is None:
                self.refused.add(pair)
                continue
            row = self.widened(pair)
            self.covered(row)
            yield tuple(sorted(row))

    def widened(self, row: Row) -> Row:
        """A row with all that can be taken in and brings new pairs, what brings most first."""
        gains = dict.fromkeys(range(len(self.known)), 0)
        for one, two in self.left:
            gains[one] += 1
            gains[two] += 1
        others = [index for index in gains if gains[index] and index not in row]
        others.sort(key=lambda index: gains[index] * self.rng.random(), reverse=True)
        for start in range(0, len(others), CHUNK):
            row = self.taking(row, others[start : start + CHUNK])
        return row

    def taking(self, row: Row, others: list[int]) -> Row:
        """The row with those of the others that go with it."""
        chosen: list[int] = []
        for index in others:
            if merged(self.known[one] for one in (*row, *chosen, index)) is not None:
                chosen.append(index)
        wider = (*row, *chosen)
        if not chosen or legal(self.frame, wider) is not None:
            return wider
        if len(chosen) == 1:
            return row
        half = len(chosen) // 2
        return self.taking(self.taking(row, chosen[:half]), chosen[half:])
