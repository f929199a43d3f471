"""``concat``."""

from __future__ import annotations

import torch

from flexit.ir.ops.concat import Concat
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def lower(node: Node, code: Code) -> Ref:
    """Joined along an axis."""
    assert isinstance(node.op, Concat)
    return code.call(torch.cat, tuple(code[value] for value in node.inputs), node.op.axis)
