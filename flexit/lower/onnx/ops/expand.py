"""``expand``."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.expand import Expand
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Copies along an axis."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Expand) and x is not None
    if op.size is not None:
        return e("Expand", e[x], [op.size if axis == op.axis else 1 for axis in range(x.type.rank)])
    like = node.inputs[1]
    assert like is not None
    size = e.dim(e.values[like], op.axis)
    return e("Expand", e[x], e.shape([size if axis == op.axis else 1 for axis in range(x.type.rank)]))
