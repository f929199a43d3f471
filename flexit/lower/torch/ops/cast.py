"""``cast``; ``f32`` is fp32, or the precision of another value."""

from __future__ import annotations

import torch
from torch import Tensor

from flexit.ir.ops.cast import Cast
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def to_float(x: Tensor) -> Tensor:
    """fp32, whatever the model's precision: positions and masks need it, and arithmetic promotes from it."""
    return x.to(torch.float32)


def to_precision(x: Tensor, like: Tensor) -> Tensor:
    """The dtype of ``like``, so that a table or a mask does not lift what it meets to fp32."""
    return x.to(like.dtype)


def to_int(x: Tensor) -> Tensor:
    """int64."""
    return x.to(torch.int64)


def to_bool(x: Tensor) -> Tensor:
    """Bool."""
    return x.to(torch.bool)


def lower(node: Node, code: Code) -> Ref:
    """Another dtype."""
    assert isinstance(node.op, Cast)
    x, *like = (code[value] for value in node.inputs)
    if like:
        return code.call(to_precision, x, *like)
    return code.call({"f32": to_float, "i64": to_int, "bool": to_bool}[node.op.to], x)
