"""``cast``: another dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import DType, Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast(Op):
    """``x, like? -> same shape`` in dtype ``to``: ``f32`` is fp32, or with ``like`` the precision that value has."""

    name: ClassVar[str] = "cast"
    to: DType

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        x, like = (*inputs, None)[:2]
        require(x is not None, "cast of nothing")
        require(like is None or like.dtype == self.to, f"cast to {self.to} like {like}")
        assert x is not None
        return (Type(self.to, x.dims),)
