"""``unary`` as the functions of torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from flexit.ir.ops.unary import Unary
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh form of gelu (Hendrycks and Gimpel 2016)."""
    return F.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    """X * sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


def relu2(x: Tensor) -> Tensor:
    """relu(x)^2 (So et al. 2021)."""
    return F.relu(x).square()


def round_bf16(x: Tensor) -> Tensor:
    """The nearest bf16 number."""
    return x.to(torch.bfloat16).to(x.dtype)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu, "gelu_tanh": gelu_tanh, "silu": F.silu, "relu": F.relu, "relu2": relu2, "quick_gelu": quick_gelu,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "exp": torch.exp, "log": torch.log, "neg": torch.neg,
    "sqrt": torch.sqrt, "sin": torch.sin, "cos": torch.cos, "floor": torch.floor,
    "round_bf16": round_bf16,
}  # fmt: skip


def lower(node: Node, code: Code) -> Ref:
    """The function applied."""
    assert isinstance(node.op, Unary)
    return code.call(FUNCTIONS[node.op.fn], code[node.inputs[0]])
