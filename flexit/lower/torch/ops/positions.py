"""``positions``."""

from __future__ import annotations

import torch
from torch import Tensor

from flexit.ir.ops.positions import Positions
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def ranks(mask: Tensor) -> Tensor:
    """Unpadded slots before each one, at least 0."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def slots(mask: Tensor) -> Tensor:
    """0, 1, 2, ... over the columns, ``[1, T]``."""
    return torch.arange(mask.shape[1], device=mask.device)[None]


def lower(node: Node, code: Code) -> Ref:
    """Ranks or slots."""
    assert isinstance(node.op, Positions)
    return code.call(ranks if node.op.kind == "valid" else slots, code[node.inputs[0]])
