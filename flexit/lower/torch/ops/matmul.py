"""``matmul``."""

from __future__ import annotations

import torch

from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def lower(node: Node, code: Code) -> Ref:
    """Batched product."""
    return code.call(torch.matmul, code[node.inputs[0]], code[node.inputs[1]])
