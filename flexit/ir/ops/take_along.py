"""``take_along``: entries of one axis picked by an index array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.dims import symbols
from flexit.ir.ops.op import Dependence, Op
from flexit.ir.program import Node
from flexit.ir.types import Type, broadcast, require


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeAlong(Op):
    """``x, index i64 -> y``: like ``gather`` of torch on ``axis`` (not negative), the other dims broadcast."""

    name: ClassVar[str] = "take_along"
    axis: int

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        x, index = inputs
        assert x is not None and index is not None
        require(x.rank == index.rank and index.dtype == "i64", f"take_along of {x} by {index}")
        front = broadcast(x.dims[: self.axis], index.dims[: self.axis])
        back = broadcast(x.dims[self.axis + 1 :], index.dims[self.axis + 1 :])
        return (x.with_dims((*front, index.dims[self.axis], *back)),)

    def dependence(self, node: Node, seq: str) -> Dependence:
        x = node.inputs[0]
        assert x is not None
        return Dependence.GLOBAL if seq in symbols(x.dims[self.axis]) else Dependence.POINTWISE
