"""``rotate``."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.rotate import Rotate
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Turned channel pairs."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Rotate) and x is not None
    width, dim = x.dims[-1], op.dim
    assert isinstance(width, int)
    turning, *rest = [e[x]] if dim == width else e.many("Split", 2, e[x], [dim, width - dim], axis=-1)
    cos, sin = (e("Unsqueeze", e[value], [1]) for value in node.inputs[1:])
    if op.style == "half":
        a, b = e.many("Split", 2, turning, [dim // 2, dim // 2], axis=-1)
    else:
        a, b = (e("Slice", turning, [first], [dim], [3], [2]) for first in (0, 1))
    u = e("Sub", e("Mul", a, cos), e("Mul", b, sin))
    w = e("Add", e("Mul", b, cos), e("Mul", a, sin))
    if op.style == "half":
        return e("Concat", u, w, *rest, axis=-1)
    pairs = e("Concat", e("Unsqueeze", u, [-1]), e("Unsqueeze", w, [-1]), axis=-1)
    turned = e("Reshape", pairs, e.shape([e("Shape", turning, start=0, end=3), dim]))
    return e("Concat", turned, *rest, axis=-1) if rest else turned
