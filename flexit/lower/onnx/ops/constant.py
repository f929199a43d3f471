"""``constant``: a pooled initializer."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexit.ir.ops.constant import Constant
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter

DTYPES = {"f32": np.float32, "i64": np.int64, "bool": np.bool_}


def lower(node: Node, e: Emitter) -> Any:
    """The numbers."""
    op = node.op
    assert isinstance(op, Constant)
    return e.constant(np.array(op.numbers, dtype=np.float64).astype(DTYPES[op.dtype]).reshape(op.shape))
