"""``top_k``: the largest entries of the last axis, largest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK(Op):
    """``x[..., n] -> values [..., k], indices i64[..., k]``."""

    name: ClassVar[str] = "top_k"
    k: int

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and isinstance(x.dims[-1], int) and x.dims[-1] >= self.k, f"top_k {self.k} of {x}")
        assert x is not None
        dims = (*x.dims[:-1], self.k)
        return (x.with_dims(dims), Type("i64", dims))
