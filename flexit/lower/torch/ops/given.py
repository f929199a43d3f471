"""``given``: the caller's value, or what stands for it."""

from __future__ import annotations

from torch import Tensor

from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def given(value: Tensor | None, fallback: Tensor) -> Tensor:
    """``value`` unless the caller left it out."""
    return fallback if value is None else value


def lower(node: Node, code: Code) -> Ref:
    """One of the two."""
    return code.call(given, code[node.inputs[0]], code[node.inputs[1]])
