"""``rotate``: turns channel pairs by the angles of a rotary table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate(Op):
    """``x[B, H, S, D], cos, sin [B, S, dim / 2] -> same``; the first ``dim`` channels turn.

    ``half`` pairs channel i with i + dim/2, ``interleaved`` 2i with 2i + 1.
    """

    name: ClassVar[str] = "rotate"
    dim: int
    style: Literal["half", "interleaved"] = "half"

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        x, cos, sin = inputs
        assert x is not None and cos is not None and sin is not None
        require(x.rank == 4 and cos == sin and cos.dims[-1] == self.dim // 2, f"rotate {x} by {cos}")
        require(x.dims[2] == cos.dims[1], f"rotate {x} by {cos}")
        return (x,)
