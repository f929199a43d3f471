"""``expand``."""

from __future__ import annotations

from torch import Tensor

from flexit.ir.ops.expand import Expand
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def repeat(x: Tensor, axis: int, size: int) -> Tensor:
    """A view with ``size`` copies along an axis of size 1."""
    return x.expand([size if index == axis else -1 for index in range(x.dim())])


def repeat_like(x: Tensor, axis: int, like: Tensor) -> Tensor:
    """The same, as long there as ``like``."""
    return repeat(x, axis, like.shape[axis])


def lower(node: Node, code: Code) -> Ref:
    """Copies along an axis."""
    op, x = node.op, code[node.inputs[0]]
    assert isinstance(op, Expand)
    if op.size is None:
        return code.call(repeat_like, x, op.axis, code[node.inputs[1]])
    return code.call(repeat, x, op.axis, op.size)
