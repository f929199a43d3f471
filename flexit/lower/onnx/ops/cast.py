"""``cast``."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.cast import Cast
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Another dtype."""
    assert isinstance(node.op, Cast) and node.inputs[0] is not None
    return e.cast(e.values[node.inputs[0]], node.op.to)
