"""``extent``: ReduceMax."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """``[batch, 1]``."""
    positions, mask = e.inputs(node)
    return e("ReduceMax", e("Mul", e("Add", positions, np.int64(1)), mask), [1], keepdims=1)
