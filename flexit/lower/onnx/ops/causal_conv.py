"""``causal_conv``: Conv with one group per channel over past ++ masked input."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from flexit.ir.dims import fixed
from flexit.ir.ops.causal_conv import CausalConv
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """The result; the new state is gathered at each row's last unpadded slot."""
    op, (x, mask) = node.op, e.inputs(node)
    assert isinstance(op, CausalConv)
    channels, kept, state = fixed(node.output.dims[2]), op.kernel - 1, e.state(node)
    x = e("Mul", x, e("Unsqueeze", e.cast(mask, "f32"), [-1]))
    rows = e.dim(x, 0)
    past = e("Expand", 0.0, e.shape([rows, kept, channels])) if state is None else e.past[state.path]
    full = e("Concat", past, x, axis=1)
    bias = e.weight(node, "bias")
    operands = [e("Transpose", full, perm=[0, 2, 1]), e.weight(node, "weight"), *([] if bias is None else [bias])]
    y = e("Transpose", e("Conv", *operands, group=channels), perm=[0, 2, 1])
    if state is not None:
        e.present[state.path] = _last(e, full, mask, kept=kept, channels=channels)
    return y


def _last(e: Emitter, full: ir.Value, mask: ir.Value, *, kept: int, channels: int) -> ir.Value:
    one = np.int64(1)
    slots = e("Range", one, e("Squeeze", e("Add", e.dim(mask, 1), [1]), [0]), one)
    start = e("ReduceMax", e("Mul", mask, slots), [1], keepdims=1)
    index = e("Unsqueeze", e("Add", start, np.arange(kept)[None]), [-1])
    return e("GatherElements", full, e("Expand", index, e.shape([e.dim(full, 0), kept, channels])), axis=1)
