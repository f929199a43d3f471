"""``rotary_table``: cosines and sines of rotary positions (Su et al. 2021), always computed in fp32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class RotaryTable(Op):
    """``positions i64[B, S] -> cos, sin [B, S, dim / 2]``."""

    name: ClassVar[str] = "rotary_table"
    dim: int
    theta: float

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (positions,) = inputs
        require(positions is not None and self.dim % 2 == 0, f"rotary_table of {positions}")
        assert positions is not None
        table = Type("f32", (*positions.dims, self.dim // 2))
        return (table, table)

    def frequencies(self) -> tuple[float, ...]:
        """theta^(-2i / dim) for each channel pair i."""
        return tuple(self.theta ** (-2 * pair / self.dim) for pair in range(self.dim // 2))
