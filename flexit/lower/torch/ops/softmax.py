"""``softmax``."""

from __future__ import annotations

import torch

from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def lower(node: Node, code: Code) -> Ref:
    """Over the last axis."""
    return code.call(torch.softmax, code[node.inputs[0]], -1)
