"""``append``: Concat with the past, or nothing where the graph carries no states."""

from __future__ import annotations

from typing import Any

from flexit.ir.ops.append import Append
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """All keys or values; also the new state."""
    op, state, x = node.op, e.state(node), e[node.inputs[0]]
    assert isinstance(op, Append) and x is not None
    if state is None:
        return x
    e.present[state.path] = e("Concat", e.past[state.path], x, axis=op.axis)
    return e.present[state.path]
