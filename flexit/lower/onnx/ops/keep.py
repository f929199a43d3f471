"""``keep``: nothing; a graph that is cut here has it as an input."""

from __future__ import annotations

from typing import Any

from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """The value itself."""
    return e[node.inputs[0]]
