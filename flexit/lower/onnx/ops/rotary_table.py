"""``rotary_table``: angles, cosines and sines in fp32."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexit.ir.ops.rotary_table import RotaryTable
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Cosines and sines."""
    op, positions = node.op, node.inputs[0]
    assert isinstance(op, RotaryTable) and positions is not None
    angles = e("Mul", e("Unsqueeze", e.cast(e.values[positions], "f32"), [-1]), np.array(op.frequencies(), np.float32))
    return [e("Cos", angles), e("Sin", angles)]
