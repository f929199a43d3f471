"""``binary``: one node."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexit.ir.ops.binary import Binary
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter

NODES = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "min": "Min", "max": "Max", "pow": "Pow"}


def lower(node: Node, e: Emitter) -> Any:
    """The function of two values, or of a value and a number of its dtype."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Binary) and x is not None
    if op.scalar is None:
        return e(NODES[op.fn], e[x], e[node.inputs[1]])
    return e(NODES[op.fn], e[x], np.int64(op.scalar) if x.dtype == "i64" else np.float32(op.scalar))
