"""``downsample``: neighbouring positions joined, giving a new length and its mask together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.dims import ceil_div, symbols
from flexit.ir.ops.op import Dependence, Op
from flexit.ir.program import Node
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Downsample(Op):
    """``x[B, S, D], mask i64[B, S] -> y[B, ceil(S/factor), D], mask i64[B, ceil(S/factor)]``.

    Over the unpadded members of each group; a group is valid if one member is, and zero otherwise.
    """

    name: ClassVar[str] = "downsample"
    factor: int
    method: Literal["mean", "max", "first"] = "mean"

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        x, mask = inputs
        assert x is not None and mask is not None
        require(x.rank == 3 and x.dims[:2] == mask.dims, f"downsample of {x} under {mask}")
        length = ceil_div(x.dims[1], self.factor)
        return (x.with_dims((x.dims[0], length, x.dims[2])), mask.with_dims((x.dims[0], length)))

    def dependence(self, node: Node, seq: str) -> Dependence:
        x = node.inputs[0]
        assert x is not None
        return Dependence.GLOBAL if seq in symbols(x.dims[1]) else Dependence.POINTWISE
