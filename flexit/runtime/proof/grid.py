"""The cases of a proof: batch, new tokens and cached tokens, with padded rows, inside the model's position limits.

Of the rows of a case the first has no pads, the second pads on the left, the third on the right, the fourth between its
tokens, the fifth on the right again. Where the ONNX model takes position ids, some cases pass them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from flexit.ir.analysis.cost import position_limit
from flexit.ir.analysis.limits import limits_of, positions_taken
from flexit.ir.program import Input, Program
from flexit.runtime.sessions.session import Array

BATCHES, LENGTHS, PASTS = (1, 2, 5), (1, 2, 17), (0, 1, 37)
PLACED = ((1, 1), (2, 2), (5, 17))
"""Batches and lengths that are run with position ids, too."""
BETWEEN = 3
"""The row whose pads are between its tokens."""
FARTHEST = 128
"""Position ids that are passed are below, where no table bounds them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One point of the grid; ``past`` is 0 where the model is run whole, ``placed`` where position ids are passed."""

    batch: int
    seq: int
    past: int
    placed: bool = False

    def __str__(self) -> str:
        given = ", with position ids" if self.placed else ""
        return f"batch {self.batch}, {self.seq} new, {self.past} cached{given}"


def cases(program: Program) -> Iterator[Case]:
    """Every case that fits the smallest position table."""
    limit = position_limit(program)
    pasts = PASTS if program.decoded is not None else (0,)
    for batch, seq, past in product(BATCHES, LENGTHS, pasts):
        if limit is None or seq + past <= limit:
            yield Case(batch, seq, past)
    if positions_taken(program):
        yield from (Case(b, n, 0, placed=True) for b, n in PLACED if limit is None or n <= limit)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What inputs of a program are drawn within.

    Attributes:
        ids: for each input of ids, the rows of the smallest table it is looked up in.
        positions: of position ids, one more than the largest.
        longest: the longest sequence that all tables of positions allow, or None.
        taken: position ids that a deployed model takes.
    """

    ids: Mapping[str, int]
    positions: Mapping[str, int]
    longest: int | None
    taken: tuple[str, ...]

    @classmethod
    def of(cls, program: Program) -> Bounds:
        """Those of a program, which is walked for them."""
        limits = limits_of(program)
        ids = {entry.name: limits.ids.get(entry.name, 2) for entry in program.inputs if entry.role == "ids"}
        return cls(ids, limits.positions, position_limit(program), positions_taken(program))


def inputs_for(
    program: Program, case: Case, rng: np.random.Generator, *, bounds: Bounds | None = None
) -> dict[str, Array]:  # fmt: skip
    """Random inputs of a case, past and new tokens together, padded as the module says.

    No sequence is longer than the tables of positions allow.
    """
    found: dict[str, Array] = {}
    bounds = bounds or Bounds.of(program)
    limit, placed = bounds.longest, bounds.taken if case.placed else ()
    for entry in program.inputs:
        decoded = program.decoded is not None and entry.group == program.decoded.name
        length = case.seq + case.past if decoded or program.decoded is None else case.seq + 3
        length = length if limit is None else min(length, limit)
        if entry.role == "ids":
            found[entry.name] = rng.integers(0, bounds.ids[entry.name], (case.batch, length))
        elif entry.role == "values":
            found[entry.name] = rng.standard_normal((case.batch, length, _width(entry))).astype(np.float32)
        elif entry.role == "vector":
            found[entry.name] = rng.standard_normal((case.batch, _width(entry))).astype(np.float32)
        elif entry.role == "mask":
            found[entry.name] = _mask(case.batch, length)
        elif entry.role == "prefix_lengths":
            at_once = _mask(case.batch, length)[:, : case.past or (1 if decoded else length)].sum(axis=1)
            found[entry.name] = rng.integers(0, at_once + 1)
        elif entry.name in placed:
            highest = bounds.positions.get(entry.name, FARTHEST)
            found[entry.name] = _places(case.batch, length, highest=highest, rng=rng)
    return found


def _width(entry: Input) -> int:
    width = entry.value.dims[-1]
    assert isinstance(width, int)
    return width


def _places(batch: int, length: int, *, highest: int, rng: np.random.Generator) -> Array:
    """Position ids below ``highest``: rows that begin somewhere, in turn with rows whose own are in another order."""
    first = rng.integers(0, highest - length + 1, (batch, 1))
    first[1::2] = 0
    places = first + np.arange(length)
    places[1::2] = rng.permuted(places[1::2], axis=1)
    return places


def _mask(batch: int, length: int) -> Array:
    mask = np.ones((batch, length), np.int64)
    for row in range(1, batch):
        pads = min(row + 1, length - 1)
        if row == BETWEEN:
            mask[row, 1 : length - 1 : 3] = 0
        elif row % 2:
            mask[row, :pads] = 0
        elif pads:
            mask[row, length - pads :] = 0
    return mask
