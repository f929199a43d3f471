"""``keep``: what the cache holds, or the value itself where no cache is given."""

from __future__ import annotations

from torch import Tensor

from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref

RETURNS_STATE = False
"""The result is the new state."""


def keep(x: Tensor, past: Tensor | None) -> Tensor:
    """``past`` if there is one."""
    return x if past is None else past


def lower(node: Node, code: Code, past: Ref) -> Ref:
    """The kept value; also the new state."""
    return code.call(keep, code[node.inputs[0]], past)
