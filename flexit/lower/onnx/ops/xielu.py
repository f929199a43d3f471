"""``xielu`` by its definition, with e^x - 1 as tanh(x/2) (e^x + 1), which keeps its digits near 0."""

from __future__ import annotations

from typing import Any

from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """The function applied."""
    x = e[node.inputs[0]]
    p, n = e("Softplus", e.weight(node, "alpha_p")), e("Add", e("Softplus", e.weight(node, "alpha_n")), 0.5)
    below = e("Min", x, -1e-6)
    expm1 = e("Mul", e("Tanh", e("Mul", below, 0.5)), e("Add", e("Exp", below), 1.0))
    left = e("Mul", n, e("Sub", expm1, x))
    chosen = e("Where", e("Greater", x, 0.0), e("Mul", p, e("Mul", x, x)), left)
    return e("Add", chosen, e("Mul", x, 0.5))
