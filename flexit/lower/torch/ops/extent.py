"""``extent``."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def extent(positions: Tensor, mask: Tensor) -> Tensor:
    """The largest position that is no padding, + 1; 0 where there is none."""
    return F.pad((positions + 1) * mask, (1, 0)).amax(1, keepdim=True)


def lower(node: Node, code: Code) -> Ref:
    """``[batch, 1]``."""
    return code.call(extent, *(code[value] for value in node.inputs))
