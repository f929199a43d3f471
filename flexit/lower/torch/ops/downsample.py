"""``downsample``: pad, group, reduce over the unpadded members."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flexit.ir.ops.downsample import Downsample
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def _grouped(x: Tensor, mask: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    pad = (-x.shape[1]) % factor
    groups = F.pad(x, (0, 0, 0, pad)).unflatten(1, (-1, factor))
    return groups, F.pad(mask, (0, pad)).unflatten(1, (-1, factor))


def mean(x: Tensor, mask: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Mean of the unpadded members, zero where there is none."""
    groups, members = _grouped(x, mask, factor)
    weights = members.unsqueeze(-1).to(x.dtype)
    return (groups * weights).sum(2) / weights.sum(2).clamp(min=1), members.amax(2)


def maximum(x: Tensor, mask: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Maximum of the unpadded members, zero where there is none."""
    groups, members = _grouped(x, mask, factor)
    hidden = groups.masked_fill(members.unsqueeze(-1) == 0, torch.finfo(x.dtype).min)
    valid = members.amax(2)
    return hidden.amax(2) * valid.unsqueeze(-1).to(x.dtype), valid


def first(x: Tensor, mask: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """The first unpadded member, zero where there is none."""
    groups, members = _grouped(x, mask, factor)
    leading = (members.cumsum(2) * members == 1).unsqueeze(-1).to(x.dtype)
    return (groups * leading).sum(2), members.amax(2)


def lower(node: Node, code: Code) -> Ref:
    """Values and mask of the shorter sequence."""
    op = node.op
    assert isinstance(op, Downsample)
    function = {"mean": mean, "max": maximum, "first": first}[op.method]
    return code.call(function, code[node.inputs[0]], code[node.inputs[1]], op.factor)
