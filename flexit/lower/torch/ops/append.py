"""``append`` as a concatenation, or nothing where no cache is given."""

from __future__ import annotations

import torch
from torch import Tensor

from flexit.ir.ops.append import Append
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref

RETURNS_STATE = False
"""The result is the new state."""


def append(x: Tensor, past: Tensor | None, axis: int) -> Tensor:
    """``past ++ x``; a cache that was written for fewer rows is refused by the concatenation."""
    return x if past is None else torch.cat([past, x], axis)


def lower(node: Node, code: Code, past: Ref) -> Ref:
    """All keys or values; also the new state."""
    assert isinstance(node.op, Append)
    return code.call(append, code[node.inputs[0]], past, node.op.axis)
