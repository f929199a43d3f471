"""``slice``: a range along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.dims import Size, symbols
from flexit.ir.ops.op import Dependence, Op
from flexit.ir.program import Node
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Op):
    """``x -> y``: ``start`` to ``stop`` of ``axis``; both may be affine in the lengths, counted from the front."""

    name: ClassVar[str] = "slice"
    axis: int
    start: Size
    stop: Size

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and 0 <= self.axis < x.rank, f"slice axis {self.axis} of {x}")
        assert x is not None
        dims = list(x.dims)
        dims[self.axis] = self.stop - self.start
        return (x.with_dims(dims),)

    def dependence(self, node: Node, seq: str) -> Dependence:
        (x,) = node.inputs
        assert x is not None
        return Dependence.GLOBAL if seq in symbols(x.dims[self.axis]) else Dependence.POINTWISE
