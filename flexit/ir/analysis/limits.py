"""Bounds of what a program is given: how large ids and positions may be, and which position ids are an input."""

from __future__ import annotations

from dataclasses import dataclass, field

from flexit.ir.ops.binary import Binary
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
        tokens: the longest row, where the count of its tokens does not begin with 0.
    """

    ids: dict[str, int] = field(default_factory=dict[str, int])
    positions: dict[str, int] = field(default_factory=dict[str, int])
    slots: dict[str, int] = field(default_factory=dict[str, int])
    tokens: dict[str, int] = field(default_factory=dict[str, int])


def limits_of(program: Program) -> Limits:
    """The limits of every graph input of a program."""
    flat = inline(program)
    names = {entry.value: entry.name for entry in flat.inputs}
    passed: dict[Value, tuple[str, Given]] = {}
    added: dict[Value, tuple[Value, int]] = {}
    found = Limits()
    for node in flat.root.nodes:
        if not isinstance(node, Node) or node.inputs[:1] in ((), (None,)):
            continue
        source = node.inputs[0]
        assert source is not None
        if isinstance(node.op, Given) and source in names:
            passed[node.output] = names[source], node.op
        elif isinstance(node.op, Binary) and node.op.fn == "add" and node.op.scalar is not None:
            added[node.output] = source, int(node.op.scalar)
        elif isinstance(node.op, Embedding):
            source, more = added.get(source, (source, 0))
            rows = node.op.rows - more
            if source in names:
                _lower(found.ids, names[source], rows)
            if source in passed:
                name, op = passed[source]
                _lower(found.positions, name, rows)
                if op.fallback == "slot":
                    _lower(found.slots, name, rows)
                if op.first:
                    _lower(found.tokens, name, rows - op.first)
    return found


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
