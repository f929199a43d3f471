"""``top_k``."""

from __future__ import annotations

import torch

from flexit.ir.ops.top_k import TopK
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def lower(node: Node, code: Code) -> Ref:
    """Values and indices, largest first."""
    assert isinstance(node.op, TopK)
    return code.call(torch.topk, code[node.inputs[0]], node.op.k)
