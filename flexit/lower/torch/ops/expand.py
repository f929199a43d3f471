"""``expand``."""

from __future__ import annotations

from torch import Tensor

from flexit.ir.ops.expand import Expand
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def repeat(x: Tensor, axis: int, size: int) -> Tensor:
    """A view with ``size`` copies along an axis of size 1."""
    return x.expand([size if index == axis else -1 for index in range(x.dim())])


def lower(node: Node, code: Code) -> Ref:
    """Copies along an axis."""
    assert isinstance(node.op, Expand)
    return code.call(repeat, code[node.inputs[0]], node.op.axis, node.op.size)
