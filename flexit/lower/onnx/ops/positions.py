"""``positions``: CumSum of the mask, or Range. A deployed model has no documents."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexit.ir.ops.positions import Positions
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Ranks or slots."""
    op, mask = node.op, node.inputs[0]
    assert isinstance(op, Positions) and mask is not None
    one, zero = np.int64(1), np.int64(0)
    if op.kind == "valid":
        return e("Max", e("Sub", e("CumSum", e[mask], one), one), zero)
    slots = e("Range", zero, e("Squeeze", e.dim(e.values[mask], 1), [0]), one)
    return e("Expand", slots, e("Shape", e.values[mask]))
