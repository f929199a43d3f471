"""``upsample``: each position repeated, cut to the length of another sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.dims import ceil_div, symbols
from flexit.ir.ops.op import Dependence, Op
from flexit.ir.program import Node
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsample(Op):
    """``x[B, ceil(S/factor), D], like[B, S, ...] -> [B, S, D]``."""

    name: ClassVar[str] = "upsample"
    factor: int

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        x, like = inputs
        assert x is not None and like is not None
        require(x.rank == 3 and x.dims[1] == ceil_div(like.dims[1], self.factor), f"upsample of {x} like {like}")
        return (x.with_dims((x.dims[0], like.dims[1], x.dims[2])),)

    def dependence(self, node: Node, seq: str) -> Dependence:
        mixes = any(value is not None and seq in symbols(value.dims[1]) for value in node.inputs)
        return Dependence.GLOBAL if mixes else Dependence.POINTWISE
