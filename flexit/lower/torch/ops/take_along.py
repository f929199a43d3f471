"""``take_along`` as ``gather``; which dims broadcast is known from the types, so no length is specialised on."""

from __future__ import annotations

import torch
from torch import Tensor

from flexit.ir.ops.take_along import TakeAlong
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def like(x: Tensor, other: Tensor, axes: tuple[int, ...]) -> Tensor:
    """``x`` repeated along ``axes``, where it has size 1, to the lengths of ``other``."""
    return x.expand([other.shape[axis] if axis in axes else -1 for axis in range(x.dim())])


def lower(node: Node, code: Code) -> Ref:
    """Picked entries."""
    op, (x, index) = node.op, node.inputs
    assert isinstance(op, TakeAlong) and x is not None and index is not None
    others = [axis for axis in range(x.type.rank) if axis != op.axis]
    source, picked = code[x], code[index]
    thin = tuple(axis for axis in others if index.dims[axis] != node.output.dims[axis])
    picked = code.assign(code.call(like, picked, source, thin)) if thin else picked
    thin = tuple(axis for axis in others if x.dims[axis] != node.output.dims[axis])
    source = code.assign(code.call(like, source, picked, thin)) if thin else source
    return code.call(torch.gather, source, op.axis, picked)
