"""``dropout``, active in training only."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from flexit.ir.ops.dropout import Dropout
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def drop_rows(x: Tensor, p: float, training: bool) -> Tensor:
    """Stochastic depth: whole rows of the batch."""
    if not training:
        return x
    kept = x.new_empty(x.shape[0], *[1] * (x.dim() - 1)).bernoulli_(1 - p)
    return x * kept / (1 - p)


def lower(node: Node, code: Code) -> Ref:
    """Zeroed elements or rows."""
    assert isinstance(node.op, Dropout)
    function = drop_rows if node.op.per_row else F.dropout
    return code.call(function, code[node.inputs[0]], node.op.p, Ref("self.training"))
