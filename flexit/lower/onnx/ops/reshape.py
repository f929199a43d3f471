"""``reshape``: 0 copies a dim in its place; only a dim that moves needs its size at run time."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.reshape import Reshape
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Other dims."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Reshape) and x is not None
    moved = [isinstance(entry, str) and entry not in ("*", f"={axis}") for axis, entry in enumerate(op.to)]
    if sum(moved) + ("*" in op.to) <= 1:
        to = [entry if isinstance(entry, int) else 0 if entry == f"={axis}" else -1 for axis, entry in enumerate(op.to)]
        return e("Reshape", e[x], to)
    parts = [e.dim(e.values[x], int(str(d)[1:])) if str(d)[0] == "=" else -1 if d == "*" else int(d) for d in op.to]
    return e("Reshape", e[x], e.shape(parts))
