"""What blocks that join several edges check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flexit.ir.block import Fault
from flexit.ir.edges import Sequence as SequenceEdge
from flexit.ir.edges import Vector


def same_shape(kind: str, xs: Sequence[SequenceEdge | Vector]) -> Iterator[Fault]:
    """All of one type, one width and one length."""
    if len({edge.type_name for edge in xs}) > 1:
        yield Fault(
            code="FX0302", field="from", message=f"the inputs of {kind} differ in type", expected="one type",
            found=", ".join(edge.type_name for edge in xs), cure="put a pool before the others, or leave one out",
        )  # fmt: skip
        return
    if len({edge.width for edge in xs}) > 1:
        yield Fault(
            code="FX0401", field="from", message=f"the inputs of {kind} differ in width", expected="one width",
            found=", ".join(str(edge.width) for edge in xs),
            cure=f"put a linear with d_out: {xs[0].width} after the other inputs",
        )  # fmt: skip
    axes = {id(edge.axis): edge.axis for edge in xs if isinstance(edge, SequenceEdge)}
    if len(axes) > 1:
        yield Fault(
            code="FX0402", field="from", message=f"the inputs of {kind} differ in length", expected="one length",
            found=", ".join(axis.described for axis in axes.values()),
            cure="join sequences of one length, or pool them first",
        )  # fmt: skip
