"""``extent``: ReduceMax."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """``[batch, 1]``."""
    positions, mask = e.inputs(node)
    after = e("Mul", e("Add", positions, np.int64(1)), mask)
    return e("ReduceMax", e("Pad", after, [0, 1, 0, 0], np.int64(0)), [1], keepdims=1)  # 0 where there is no position
