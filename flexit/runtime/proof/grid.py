"""The cases of a proof: batch, new tokens and cached tokens, with padded rows, inside the model's position limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from flexit.ir.cost import position_limit
from flexit.ir.ops.embedding import Embedding
from flexit.ir.passes.inline import inline
from flexit.ir.program import Input, Node, Program
from flexit.runtime.session import Array

BATCHES, LENGTHS, PASTS = (1, 2, 5), (1, 2, 17), (0, 1, 37)


@dataclass(frozen=True, slots=True)
class Case:
    """One point of the grid; ``past`` is 0 where the model is run whole."""

    batch: int
    seq: int
    past: int

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.seq} new, {self.past} cached"


def cases(program: Program) -> Iterator[Case]:
    """Every case that fits the smallest position table."""
    limit = position_limit(program)
    pasts = PASTS if program.decoded is not None else (0,)
    for batch, seq, past in product(BATCHES, LENGTHS, pasts):
        if limit is None or seq + past <= limit:
            yield Case(batch, seq, past)


def inputs_for(program: Program, case: Case, rng: np.random.Generator) -> dict[str, Array]:
    """Random inputs of a case, past and new tokens together; later rows are padded, in turn left and right.

    No sequence is longer than the tables of positions allow.
    """
    found: dict[str, Array] = {}
    vocabulary, limit = id_limits(program), position_limit(program)
    for entry in program.inputs:
        decoded = program.decoded is not None and entry.group == program.decoded.name
        length = case.seq + case.past if decoded or program.decoded is None else case.seq + 3
        length = length if limit is None else min(length, limit)
        if entry.role == "ids":
            found[entry.name] = rng.integers(0, vocabulary[entry.name], (case.batch, length))
        elif entry.role == "values":
            found[entry.name] = rng.standard_normal((case.batch, length, _width(entry))).astype(np.float32)
        elif entry.role == "vector":
            found[entry.name] = rng.standard_normal((case.batch, _width(entry))).astype(np.float32)
        elif entry.role == "mask":
            found[entry.name] = _mask(case.batch, length)
    return found


def _width(entry: Input) -> int:
    width = entry.value.dims[-1]
    assert isinstance(width, int)
    return width


def _mask(batch: int, length: int) -> Array:
    mask = np.ones((batch, length), np.int64)
    for row in range(1, batch):
        pads = min(row + 1, length - 1)
        if row % 2:
            mask[row, :pads] = 0
        elif pads:
            mask[row, length - pads :] = 0
    return mask


def id_limits(program: Program) -> dict[str, int]:
    """For each input of ids, the rows of the smallest table it is looked up in."""
    flat = inline(program)
    limits: dict[str, int] = {}
    for node in flat.root.nodes:
        if isinstance(node, Node) and isinstance(node.op, Embedding):
            for entry in flat.inputs:
                if entry.value is node.inputs[0]:
                    limits[entry.name] = min(node.op.rows, limits.get(entry.name, node.op.rows))
    return {entry.name: limits.get(entry.name, 2) for entry in program.inputs if entry.role == "ids"}
