"""``take_along``: GatherElements, whose operands must be broadcast first."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.take_along import TakeAlong
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Picked entries."""
    op, (x, index) = node.op, node.inputs
    assert isinstance(op, TakeAlong) and x is not None and index is not None
    others = [axis for axis in range(x.type.rank) if axis != op.axis]
    picked, source = e.values[index], e.values[x]
    if any(index.dims[axis] != node.output.dims[axis] for axis in others):
        picked = e(
            "Expand", picked, e.shape([1 if axis == op.axis else e.dim(source, axis) for axis in range(x.type.rank)])
        )
    if any(x.dims[axis] != node.output.dims[axis] for axis in others):
        source = e(
            "Expand", source, e.shape([1 if axis == op.axis else e.dim(picked, axis) for axis in range(x.type.rank)])
        )
    return e("GatherElements", source, picked, axis=op.axis)
