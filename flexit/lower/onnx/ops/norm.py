"""``norm``: LayerNormalization, or the primitives of the other kinds."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from flexit.ir.ops.norm import Norm
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Normalise the last dim."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Norm) and x is not None
    width = x.dims[-1]
    assert isinstance(width, int)
    gain = e.weight(node, "weight")
    if gain is not None and op.offset:
        gain = e("Add", gain, op.offset)
    bias = e.weight(node, "bias")
    if op.kind == "layer":
        scale = e("Expand", 1.0 if gain is None else gain, [width])
        operands = [scale] if bias is None else [scale, bias]
        return e("LayerNormalization", e[x], *operands, axis=-1, epsilon=op.eps)
    y = _divided(e, e.values[x], op) if op.kind != "std" else _standardised(e, e.values[x], op, width=width)
    y = y if gain is None else e("Mul", y, gain)
    return y if bias is None else e("Add", y, bias)


def _divided(e: Emitter, x: ir.Value, op: Norm) -> ir.Value:
    total = e("ReduceMean" if op.kind == "rms" else "ReduceSum", e("Mul", x, x), [-1], keepdims=1)
    return e("Div", x, e("Sqrt", e("Add", total, op.eps)))


def _standardised(e: Emitter, x: ir.Value, op: Norm, *, width: int) -> ir.Value:
    centred = e("Sub", x, e("ReduceMean", x, [-1], keepdims=1))
    variance = e("Div", e("ReduceSum", e("Mul", centred, centred), [-1], keepdims=1), width - 1.0)
    return e("Div", centred, e("Add", e("Sqrt", variance), op.eps))
