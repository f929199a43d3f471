"""``binary`` as the functions of torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flexit.ir.ops.binary import Binary
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def minimum(x: Tensor, y: Tensor | float) -> Tensor:
    """Elementwise minimum with a tensor or a number."""
    return torch.minimum(x, y) if isinstance(y, Tensor) else torch.clamp(x, max=y)


def maximum(x: Tensor, y: Tensor | float) -> Tensor:
    """Elementwise maximum with a tensor or a number."""
    return torch.maximum(x, y) if isinstance(y, Tensor) else torch.clamp(x, min=y)


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "min": minimum, "max": maximum,
    "pow": torch.pow,
}  # fmt: skip


def lower(node: Node, code: Code) -> Ref:
    """The function applied to two values, or to a value and a number of its dtype."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Binary) and x is not None
    if op.scalar is None:
        return code.call(FUNCTIONS[op.fn], code[x], code[node.inputs[1]])
    return code.call(FUNCTIONS[op.fn], code[x], int(op.scalar) if x.dtype == "i64" else op.scalar)
