"""``constant`` as a buffer that is not saved."""

from __future__ import annotations

import torch

from flexit.ir.ops.constant import Constant
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref

DTYPES = {"f32": torch.float32, "i64": torch.int64, "bool": torch.bool}


def lower(node: Node, code: Code) -> Ref:
    """The numbers."""
    op = node.op
    assert isinstance(op, Constant)
    tensor = torch.tensor(op.numbers, dtype=torch.float64, device="cpu")
    return code.constant(tensor.to(DTYPES[op.dtype]).reshape(op.shape))
