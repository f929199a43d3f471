"""What blocks that join several edges check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flexit.ir.block import Block, Fault, From
from flexit.ir.expansion.edges import Sequence as SequenceEdge
from flexit.ir.expansion.edges import Vector

Edges = Sequence[SequenceEdge | Vector]


def same_shape(block: Block, xs: Edges) -> Iterator[Fault]:
    """All of one type, one width and one length."""
    found = list(one_type(block, xs)) or [*one_width(block, xs), *one_length(block, xs)]
    yield from found


def one_type(block: Block, xs: Edges) -> Iterator[Fault]:
    """Sequences, or vectors."""
    if len({edge.type_name for edge in xs}) > 1:
        yield Fault(
            code="FX0302", field="from", message=f"the inputs of {block.kind} differ in type", expected="one type",
            found=_each(_names(block, len(xs)), [edge.type_name for edge in xs]),
            cure="put a pool before the others, or leave one out",
        )  # fmt: skip


def one_width(block: Block, xs: Edges) -> Iterator[Fault]:
    """All of one width."""
    names = _names(block, len(xs))
    if len({edge.width for edge in xs}) > 1:
        yield Fault(
            code="FX0401", field="", message=f"the inputs of {block.kind} differ in width", expected="one width",
            found=_each(names, [str(edge.width) for edge in xs]),
            cure=f"put a linear with d_out: {xs[0].width} after {_others(names, xs)}",
        )  # fmt: skip


def one_length(block: Block, xs: Edges) -> Iterator[Fault]:
    """The sequences of one length, as an expression of those of the inputs; each input has its own."""
    lengths = {edge.axis.seq for edge in xs if isinstance(edge, SequenceEdge)}
    if len(lengths) > 1:
        yield Fault(
            code="FX0402", field="from", message=f"the inputs of {block.kind} differ in length", expected="one length",
            found=_each(
                _names(block, len(xs)),
                [edge.axis.described if isinstance(edge, SequenceEdge) else "one" for edge in xs],
            ),
            cure="join sequences of one length, or pool them first",
        )  # fmt: skip


def _names(block: Block, count: int) -> list[str]:
    """The edges as written; empty where one of them stands for several."""
    wired = block.wired
    written: From | None = next(iter(wired.values()), None) if isinstance(wired, dict) else wired
    return written if isinstance(written, list) and len(written) == count else []


def _each(names: list[str], found: list[str]) -> str:
    if not names:
        return ", ".join(found)
    return ", ".join(
        f"{name} {what}{{block {name.partition('.')[0]}}}" for name, what in zip(names, found, strict=True)
    )


def _others(names: list[str], xs: Sequence[SequenceEdge | Vector]) -> str:
    if not names:
        return "the other inputs"
    return ", ".join(name for name, edge in zip(names, xs, strict=True) if edge.width != xs[0].width)
