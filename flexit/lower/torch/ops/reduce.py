"""``reduce``."""

from __future__ import annotations

import torch

from flexit.ir.ops.reduce import Reduce
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref

FUNCTIONS = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}


def lower(node: Node, code: Code) -> Ref:
    """Sum, mean or maximum."""
    op = node.op
    assert isinstance(op, Reduce)
    return code.call(FUNCTIONS[op.fn], code[node.inputs[0]], op.axis, op.keep)
