"""``unary``: one function applied to every element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require

Function = Literal[
    "gelu", "gelu_tanh", "silu", "relu", "relu2", "quick_gelu", "tanh", "sigmoid", "exp", "log", "neg", "sqrt", "sin",
    "cos", "floor", "round_bf16",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary(Op):
    """``x -> same``. ``gelu`` is the exact form (erf), ``quick_gelu`` x * sigmoid(1.702 x), ``relu2`` relu(x)^2.

    ``round_bf16`` rounds to the precision of bf16 and stays in the dtype of x.
    """

    name: ClassVar[str] = "unary"
    fn: Function

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and x.dtype == "f32", f"{self.fn} of {x}")
        assert x is not None
        return (x,)
