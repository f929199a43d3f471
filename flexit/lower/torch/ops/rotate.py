"""``rotate``."""

from __future__ import annotations

import torch
from torch import Tensor

from flexit.ir.ops.rotate import Rotate
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def half(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (i, i + n) of the first 2n channels; n is the width of the table."""
    turned, rest = _parted(x, 2 * cos.shape[-1])
    a, b = turned.chunk(2, -1)
    return torch.cat([*_turned((a, b), cos, sin), *rest], -1)


def interleaved(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (2i, 2i + 1) of the first 2n channels; n is the width of the table."""
    turned, rest = _parted(x, 2 * cos.shape[-1])
    a, b = turned.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack(_turned((a, b), cos, sin), -1).flatten(-2)
    return torch.cat([turned, *rest], -1) if rest else turned


def _parted(x: Tensor, dim: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The first channels, and what is left of the others; a slice of all would cost its backward a copy."""
    return (x, ()) if dim == x.shape[-1] else (x[..., :dim], (x[..., dim:],))


def _turned(pair: tuple[Tensor, Tensor], cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    a, b = pair
    cos, sin = cos.unsqueeze(1).to(a.dtype), sin.unsqueeze(1).to(a.dtype)
    return a * cos - b * sin, b * cos + a * sin


def lower(node: Node, code: Code) -> Ref:
    """Turned channel pairs."""
    op = node.op
    assert isinstance(op, Rotate)
    x, cos, sin = (code[value] for value in node.inputs)
    return code.call(half if op.style == "half" else interleaved, x, cos, sin)
