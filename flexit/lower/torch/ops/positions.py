"""``positions``."""

from __future__ import annotations

import torch
from torch import Tensor

from flexit.ir.ops.positions import Positions
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def ranks(mask: Tensor, document: Tensor | None = None) -> Tensor:
    """Unpadded slots before each one, at least 0, in its document."""
    if document is None:
        return (mask.cumsum(-1) - 1).clamp(min=0)
    order = document.argsort(dim=-1, stable=True)  # the slots of a document side by side, in their order
    count, own = mask.gather(-1, order).cumsum(-1), document.gather(-1, order)
    begins = torch.cat([torch.ones_like(own[:, :1]), (own[:, 1:] != own[:, :-1]).to(own.dtype)], -1)
    before = (begins * (count - mask.gather(-1, order))).cummax(-1).values
    return torch.zeros_like(count).scatter(-1, order, (count - before - 1).clamp(min=0))


def slots(mask: Tensor, document: Tensor | None = None) -> Tensor:
    """0, 1, 2, ... over the columns, or over those of each document."""
    if document is None:
        return torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    return ranks(torch.ones_like(mask), document)


def lower(node: Node, code: Code) -> Ref:
    """Ranks or slots."""
    assert isinstance(node.op, Positions)
    return code.call(ranks if node.op.kind == "valid" else slots, *(code[value] for value in node.inputs))
