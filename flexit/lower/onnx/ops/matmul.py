"""``matmul``."""

from __future__ import annotations

from typing import Any

from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Batched product."""
    return e("MatMul", *e.inputs(node))
