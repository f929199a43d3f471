"""``cast``: another dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import DType, Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast(Op):
    """``x -> same shape`` in dtype ``to``."""

    name: ClassVar[str] = "cast"
    to: DType

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None, "cast of nothing")
        assert x is not None
        return (Type(self.to, x.dims),)
