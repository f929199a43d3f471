"""``reduce``: axes are an input in opset 18."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.reduce import Reduce
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter

NODES = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax"}


def lower(node: Node, e: Emitter) -> Any:
    """Sum, mean or maximum."""
    op = node.op
    assert isinstance(op, Reduce)
    return e(NODES[op.fn], e[node.inputs[0]], [op.axis], keepdims=int(op.keep))
