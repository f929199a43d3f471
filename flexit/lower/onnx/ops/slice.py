"""``slice``."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.slice import Slice
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """A range along an axis."""
    op = node.op
    assert isinstance(op, Slice)
    return e("Slice", e[node.inputs[0]], e.size(op.start), e.size(op.stop), [op.axis])
