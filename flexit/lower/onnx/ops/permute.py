"""``permute``: Transpose."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.permute import Permute
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Dims in another order."""
    assert isinstance(node.op, Permute)
    return e("Transpose", e[node.inputs[0]], perm=list(node.op.perm))
