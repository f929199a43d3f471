"""``upsample``: repeat, then cut."""

from __future__ import annotations

from typing import Any

from flexit.ir.dims import fixed
from flexit.ir.ops.upsample import Upsample
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """The longer sequence."""
    op, (x, like) = node.op, e.inputs(node)
    assert isinstance(op, Upsample)
    copies = e("Expand", e("Unsqueeze", x, [2]), [1, 1, op.factor, 1])
    return e("Slice", e("Reshape", copies, [0, -1, fixed(node.output.dims[2])]), [0], e.dim(like, 1), [1])
