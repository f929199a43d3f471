"""``binary``: elementwise arithmetic of two values, or of a value and a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, broadcast, require

Function = Literal["add", "sub", "mul", "div", "min", "max", "pow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary(Op):
    """``x, y -> broadcast``; with ``scalar`` the second operand is that number, in the dtype of ``x``."""

    name: ClassVar[str] = "binary"
    fn: Function
    scalar: float | None = None

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        x = inputs[0]
        assert x is not None
        require((len(inputs) == 1) == (self.scalar is not None), "binary takes two values, or one and a scalar")
        if self.scalar is not None:
            return (x,)
        y = inputs[1]
        assert y is not None
        require(x.dtype == y.dtype, f"{self.fn} of {x} and {y}")
        return (x.with_dims(broadcast(x.dims, y.dims)),)
