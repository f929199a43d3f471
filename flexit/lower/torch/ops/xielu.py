"""``xielu`` as a function of its two scalars."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def xielu(x: Tensor, alpha_p: Tensor, alpha_n: Tensor) -> Tensor:
    """A parabola to the right of 0, an exponential to the left."""
    p, n = F.softplus(alpha_p), 0.5 + F.softplus(alpha_n)
    left = n * (torch.expm1(x.clamp(max=-1e-6)) - x)
    return torch.where(x > 0, p * x * x, left) + 0.5 * x


def lower(node: Node, code: Code) -> Ref:
    """The function applied."""
    return code.call(xielu, code[node.inputs[0]], code.weight(node, "alpha_p"), code.weight(node, "alpha_n"))
