"""``embedding``: Gather."""

from __future__ import annotations

from typing import Any

from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Rows of the table."""
    return e("Gather", e.weight(node, "weight"), e[node.inputs[0]], axis=0)
