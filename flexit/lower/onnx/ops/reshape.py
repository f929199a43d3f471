"""``reshape``: 0 copies a dim in its place; only a dim that moves needs its size at run time."""

from __future__ import annotations

from typing import Any

from flexit.ir.dims import may_be_zero
from flexit.ir.ops.reshape import Reshape
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Other dims."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Reshape) and x is not None
    dims = node.output.dims
    to = [dims[axis] if entry == "*" and isinstance(dims[axis], int) else entry for axis, entry in enumerate(op.to)]
    moved = [isinstance(entry, str) and entry != f"={axis}" for axis, entry in enumerate(to)]
    if sum(moved) == 0 or (sum(moved) == 1 and not any(may_be_zero(dim) for dim in x.dims)):
        return e("Reshape", e[x], [
            entry if isinstance(entry, int) else 0 if entry == f"={axis}" else -1 for axis, entry in enumerate(to)
        ])  # fmt: skip
    parts = [
        entry if isinstance(entry, int)
        else e.size(dims[axis]) if entry == "*" and may_be_zero(dims[axis])
        else -1 if entry == "*"
        else e.dim(e.values[x], int(str(entry)[1:]))
        for axis, entry in enumerate(to)
    ]  # fmt: skip
    may_be_empty = any(may_be_zero(dim) for dim in dims)  # else a size of 0 means that the operand's is kept
    return e("Reshape", e[x], e.shape(parts), allowzero=int(may_be_empty))
