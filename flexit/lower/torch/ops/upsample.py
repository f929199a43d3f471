"""``upsample``: repeat, then cut."""

from __future__ import annotations

from torch import Tensor

from flexit.ir.ops.upsample import Upsample
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def upsample(x: Tensor, like: Tensor, factor: int) -> Tensor:
    """Each position ``factor`` times, to the length of ``like``."""
    return x.repeat_interleave(factor, 1).narrow(1, 0, like.shape[1])


def lower(node: Node, code: Code) -> Ref:
    """The longer sequence."""
    assert isinstance(node.op, Upsample)
    return code.call(upsample, code[node.inputs[0]], code[node.inputs[1]], node.op.factor)
