"""Bounds of what a program is given: how large ids and positions may be, and which position ids are an input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from flexit.ir.dims import Size, evaluate, symbols
from flexit.ir.ops.binary import Binary
from flexit.ir.ops.bucket import FARTHEST, Bucket
from flexit.ir.ops.embedding import Embedding
from flexit.ir.ops.given import Given
from flexit.ir.passes.inline import inline
from flexit.ir.program import Node, Program, Value


@dataclass(slots=True)
class Limits:
    """One more than the largest number, by the name of the input; an input without a table is not there.

    Attributes:
        ids: token ids and token types.
        positions: position ids, whatever they are where none are passed.
        slots: those that count slots where none are passed, so that pads count too.
        tokens: the longest row, pads not counted: by position ids, where their count does not begin with 0, and by the
            mask, where a table of distances has to reach over the row.
    """

    ids: dict[str, int] = field(default_factory=dict[str, int])
    positions: dict[str, int] = field(default_factory=dict[str, int])
    slots: dict[str, int] = field(default_factory=dict[str, int])
    tokens: dict[str, int] = field(default_factory=dict[str, int])


def limits_of(program: Program) -> Limits:
    """The limits of every graph input of a program."""
    flat = inline(program)
    found = Limits()
    walk = _Walk({entry.value: entry.name for entry in flat.inputs}, found)
    for node in flat.root.nodes:
        if isinstance(node, Node) and node.inputs[:1] not in ((), (None,)):
            walk.see(node)
        if isinstance(node, Node) and isinstance(node.op, Bucket) and node.op.kind == "exact":
            for name, most in _reached(node, node.op.max_distance + 1, program):
                _lower(found.tokens, name, most)
    return found


def longest_row(program: Program) -> int | None:
    """Tokens of the longest row that every table of positions has room for; None where there is none."""
    found = limits_of(program)
    return min(
        (most for table in (found.positions, found.slots, found.tokens) for most in table.values()), default=None
    )


@dataclass(slots=True)
class _Walk:
    """Inputs followed to the tables that they are looked up in.

    Attributes:
        names: of the inputs.
        passed: position ids of an input, or what stands for them.
        added: values that are another one and a number.
    """

    names: dict[Value, str]
    found: Limits
    passed: dict[Value, tuple[str, Given]] = field(default_factory=dict[Value, tuple[str, Given]])
    added: dict[Value, tuple[Value, int]] = field(default_factory=dict[Value, tuple[Value, int]])

    def see(self, node: Node) -> None:
        """Take the next node into account."""
        source, op = node.inputs[0], node.op
        assert source is not None
        if isinstance(op, Given) and source in self.names:
            self.passed[node.output] = self.names[source], op
        elif isinstance(op, Binary) and op.fn == "add" and op.scalar is not None:
            self.added[node.output] = source, int(op.scalar)
        elif isinstance(op, Embedding):
            self._looked_up(*self.added.get(source, (source, 0)), rows=op.rows)

    def _looked_up(self, source: Value, more: int, *, rows: int) -> None:
        if source in self.names:
            _lower(self.found.ids, self.names[source], rows - more)
        if source in self.passed:
            name, op = self.passed[source]
            _lower(self.found.positions, name, rows - more)
            if op.fallback == "slot":
                _lower(self.found.slots, name, rows - more)
            if op.first:
                _lower(self.found.tokens, name, rows - more - op.first)


def _reached(node: Node, rows: int, program: Program) -> Iterator[tuple[str, int]]:
    """The masks of rows that a table of distances has to reach over, and how many tokens they may have."""
    masks = {entry.group: entry.name for entry in program.inputs if entry.role == "mask"}
    for length in node.output.dims[1:]:
        for group in program.groups:
            if group.name in masks and {group.seq, group.total} & symbols(length):
                yield from ((masks[group.name], most) for most in longest_within(length, rows))


def longest_within(length: Size, limit: int) -> Iterator[int]:
    """The longest inputs of which a length is within a limit: half of it where two are joined, twice it where every
    second is kept; nothing where no input changes the length, or none makes it so long.
    """

    def fits(longest: int) -> bool:
        return evaluate(length, dict.fromkeys(symbols(length), longest)) <= limit

    if not symbols(length) or fits(FARTHEST):
        return
    low, high = 0, FARTHEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    yield low


def positions_taken(program: Program) -> tuple[str, ...]:
    """Position ids that a deployed model takes as an input: those of what is decoded, where all that reads them falls
    back to ranks, which whoever runs the model can count from the mask.
    """
    if program.decoded is None:
        return ()
    flat = inline(program)
    readers = {
        entry: [node.op for node in flat.root.nodes if isinstance(node, Node) and entry.value in node.inputs]
        for entry in flat.inputs
        if entry.role == "position_ids" and entry.group == program.decoded.name
    }
    by_rank = {
        entry: all(isinstance(op, Given) and op.fallback == "rank" for op in ops) for entry, ops in readers.items()
    }
    return tuple(entry.name for entry, ranked in by_rank.items() if ranked)


def _lower(limits: dict[str, int], name: str, rows: int) -> None:
    limits[name] = min(rows, limits.get(name, rows))
