"""``softmax``."""

from __future__ import annotations

from typing import Any

from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Over the last axis."""
    return e("Softmax", e[node.inputs[0]], axis=-1)
