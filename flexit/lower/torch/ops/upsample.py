"""``upsample`` as a selection, which needs no cut."""

from __future__ import annotations

import torch
from torch import Tensor

from flexit.ir.ops.upsample import Upsample
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def upsample(x: Tensor, like: Tensor, factor: int) -> Tensor:
    """Position i of the result is position i // factor of x, to the length of ``like``."""
    return x.index_select(1, torch.arange(like.shape[1], device=x.device) // factor)


def lower(node: Node, code: Code) -> Ref:
    """The longer sequence."""
    assert isinstance(node.op, Upsample)
    return code.call(upsample, code[node.inputs[0]], code[node.inputs[1]], node.op.factor)
