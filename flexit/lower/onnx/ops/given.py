"""``given``: the graph input where the signature has it, else what stands for it."""

from __future__ import annotations

from typing import Any

from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """One of the two."""
    value, fallback = node.inputs
    assert value is not None and fallback is not None
    return e.values.get(value, e[fallback])
