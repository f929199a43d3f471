"""``take_along`` as ``gather`` on broadcast operands."""

from __future__ import annotations

import torch
from torch import Tensor

from flexit.ir.ops.take_along import TakeAlong
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def take_along(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """Entries of ``axis`` picked by ``index``; the other dims broadcast."""
    return torch.take_along_dim(x, index, axis)


def lower(node: Node, code: Code) -> Ref:
    """Picked entries."""
    assert isinstance(node.op, TakeAlong)
    return code.call(take_along, code[node.inputs[0]], code[node.inputs[1]], node.op.axis)
