"""``concat``."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.concat import Concat
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Joined along an axis."""
    assert isinstance(node.op, Concat)
    return e("Concat", *e.inputs(node), axis=node.op.axis)
