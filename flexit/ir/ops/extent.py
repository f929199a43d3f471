"""``extent``: how far a row reaches, for tables that depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent(Op):
    """``positions i64[B, T], key_mask i64[B, T] -> i64[B, 1]``: the largest position of an unpadded slot, + 1.

    It grows with every step, so what is computed from it for a token changes when later tokens arrive: a run with
    states agrees with a whole one only while that makes no difference.
    """

    name: ClassVar[str] = "extent"
    revises: ClassVar[bool] = True

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        positions, mask = inputs
        assert positions is not None and mask is not None
        require(positions.dtype == "i64" and positions == mask, f"extent of {positions} under {mask}")
        return (positions.with_dims((positions.dims[0], 1)),)
