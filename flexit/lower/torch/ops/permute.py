"""``permute``."""

from __future__ import annotations

import torch

from flexit.ir.ops.permute import Permute
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def lower(node: Node, code: Code) -> Ref:
    """Dims in another order."""
    assert isinstance(node.op, Permute)
    return code.call(torch.permute, code[node.inputs[0]], node.op.perm)
