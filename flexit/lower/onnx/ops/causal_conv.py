"""``causal_conv``: Conv with one group per channel over past ++ the unpadded input."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from flexit.ir.dims import fixed
from flexit.ir.ops.causal_conv import CausalConv
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """The result; the new state is what precedes the end of each row's unpadded input."""
    op, (x, mask) = node.op, (e.values[value] for value in node.inputs[:2] if value is not None)
    assert isinstance(op, CausalConv)
    channels, kept, state = fixed(node.output.dims[2]), op.kernel - 1, e.state(node)
    count = e("ReduceSum", mask, [1], keepdims=1)
    places, slots = _places(e, mask, count)
    x = e("Mul", x, e("Unsqueeze", e.cast(mask, "f32"), [-1]))
    packed = _rows(e, x, e("ScatterElements", places, places, slots, axis=1))
    past = e("Expand", 0.0, e.shape([e.dim(x, 0), kept, channels])) if state is None else e.past[state.path]
    full = e("Concat", past, packed, axis=1)
    bias = e.weight(node, "bias")
    operands = [e("Transpose", full, perm=[0, 2, 1]), e.weight(node, "weight"), *([] if bias is None else [bias])]
    y = e("Transpose", e("Conv", *operands, group=channels), perm=[0, 2, 1])
    if state is not None:
        e.present[state.path] = _rows(e, full, e("Add", count, np.arange(kept)[None]))
    return _rows(e, y, places)


def _places(e: Emitter, mask: ir.Value, count: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Where each slot goes when a row's unpadded slots are moved before the others, in their order; the slots."""
    one, zero = np.int64(1), np.int64(0)
    slots = e("Expand", e("Range", zero, e("Squeeze", e.dim(mask, 1), [0]), one), e("Shape", mask))
    so_far = e("CumSum", mask, one)
    pads = e("Add", count, e("Sub", slots, so_far))
    return e("Where", e.cast(mask, "bool"), e("Sub", so_far, one), pads), slots


def _rows(e: Emitter, x: ir.Value, index: ir.Value) -> ir.Value:
    """``x [batch, n, channels]`` at ``index [batch, m]``."""
    return e("GatherND", x, e("Unsqueeze", index, [-1]), batch_dims=1)
