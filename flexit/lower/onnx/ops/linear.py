"""``linear``: MatMul with the transposed weight, which is stored once in torch's layout."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.linear import Linear
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """``x W^T + b``. ONNX Runtime folds the transpose when it loads the model."""
    assert isinstance(node.op, Linear)
    y = e("MatMul", e[node.inputs[0]], e("Transpose", e.weight(node, "weight"), perm=[1, 0]))
    bias = e.weight(node, "bias")
    return y if bias is None else e("Add", y, bias)
