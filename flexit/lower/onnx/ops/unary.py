"""``unary``: one node where opset 18 has the function, else its definition."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir

from flexit.ir.ops.unary import Unary
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter

NODES = {
    "tanh": "Tanh", "exp": "Exp", "log": "Log", "neg": "Neg", "sqrt": "Sqrt", "sin": "Sin",
    "cos": "Cos", "relu": "Relu", "floor": "Floor",
}  # fmt: skip


def lower(node: Node, e: Emitter) -> Any:
    """The function applied."""
    assert isinstance(node.op, Unary)
    fn, x = node.op.fn, e[node.inputs[0]]
    if fn in NODES:
        return e(NODES[fn], x)
    if fn == "sigmoid":
        return _sigmoid(x, e)
    if fn == "silu":
        return e("Mul", x, e("Sigmoid", x))
    if fn == "round_bf16":
        return e("Cast", e("Cast", x, to=int(ir.DataType.BFLOAT16)), to=int(ir.DataType.FLOAT))
    if fn == "quick_gelu":
        return e("Mul", x, e("Sigmoid", e("Mul", x, 1.702)))
    if fn == "relu2":
        positive = e("Relu", x)
        return e("Mul", positive, positive)
    inner = e("Erf", e("Div", x, math.sqrt(2.0))) if fn == "gelu" else _tanh_inner(x, e)
    return e("Mul", e("Mul", x, 0.5), e("Add", inner, 1.0))


def _sigmoid(x: Any, e: Emitter) -> Any:
    """1 / (1 + exp(-x)).

    ONNX Runtime's own node ends at 1e-8 and is 1.7e-4 off, relatively, at -8.5: too much where a row consists of
    nothing else, as behind a gate that is closed. Beside a factor x, as in silu, it is as good.
    """
    return e("Reciprocal", e("Add", e("Exp", e("Neg", x)), 1.0))


def _tanh_inner(x: Any, e: Emitter) -> Any:
    """tanh(sqrt(2 / pi) * (x + 0.044715 x^3))."""
    cube = e("Mul", e("Mul", x, x), x)
    return e("Tanh", e("Mul", e("Add", x, e("Mul", cube, 0.044715)), math.sqrt(2.0 / math.pi)))
