"""``parameter`` as an attribute."""

from __future__ import annotations

from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def lower(node: Node, code: Code) -> Ref:
    """The array itself."""
    return code.weight(node, "value")
