"""``downsample``: pad, group, reduce over the unpadded members."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexit.ir.dims import fixed
from flexit.ir.ops.downsample import Downsample
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Values and mask of the shorter sequence."""
    op, (x, mask) = node.op, e.inputs(node)
    assert isinstance(op, Downsample)
    width, k = fixed(node.output.dims[2]), op.factor
    length = e.dim(x, 1)
    pad = e("Sub", e("Mul", e("Div", e("Add", length, [k - 1]), [k]), [k]), length)
    x = e("Reshape", e("Pad", x, e.shape([0, 0, 0, 0, pad, 0]), 0.0), [0, -1, k, width])
    mask = e("Reshape", e("Pad", mask, e.shape([0, 0, 0, pad]), np.int64(0)), [0, -1, k])
    members = e("Unsqueeze", e.cast(mask, "f32"), [-1])
    valid = e("ReduceMax", mask, [2], keepdims=0)
    if op.method == "max":
        hidden = e("Where", e.cast(members, "bool"), x, np.finfo(np.float32).min)
        y = e("Mul", e("ReduceMax", hidden, [2], keepdims=0), e("Unsqueeze", e.cast(valid, "f32"), [-1]))
    elif op.method == "first":
        leading = e("Equal", e("Mul", e("CumSum", mask, np.int64(2)), mask), np.int64(1))
        y = e("ReduceSum", e("Mul", x, e("Unsqueeze", e.cast(leading, "f32"), [-1])), [2], keepdims=0)
    else:
        count = e("Max", e("ReduceSum", members, [2], keepdims=0), 1.0)
        y = e("Div", e("ReduceSum", e("Mul", x, members), [2], keepdims=0), count)
    return [y, valid]
