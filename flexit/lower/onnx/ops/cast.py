"""``cast``."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.cast import Cast
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Another dtype."""
    x = node.inputs[0]
    assert isinstance(node.op, Cast) and x is not None
    return e.values[x] if x.dtype == node.op.to else e.cast(e.values[x], node.op.to)
