"""``top_k``."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.top_k import TopK
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Values and indices, largest first."""
    assert isinstance(node.op, TopK)
    return e.many("TopK", 2, e[node.inputs[0]], [node.op.k], axis=-1)
