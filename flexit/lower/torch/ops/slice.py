"""``slice`` as ``narrow``."""

from __future__ import annotations

import torch

from flexit.ir.ops.slice import Slice
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def lower(node: Node, code: Code) -> Ref:
    """A range along an axis."""
    op = node.op
    assert isinstance(op, Slice)
    if node.inputs[0] in code.unpadded:
        code.unpadded[node.output] = code.unpadded[node.inputs[0]]
    return code.call(torch.narrow, code[node.inputs[0]], op.axis, code.size(op.start), code.size(op.stop - op.start))
