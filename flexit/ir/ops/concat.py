"""``concat``: values joined along an axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.dims import symbols
from flexit.ir.ops.op import Dependence, Op
from flexit.ir.program import Node
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(Op):
    """``xs -> y``, sizes along ``axis`` (not negative) added."""

    name: ClassVar[str] = "concat"
    axis: int

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        first, *others = inputs
        assert first is not None
        dims = list(first.dims)
        for other in others:
            assert other is not None
            same = [a == b for i, (a, b) in enumerate(zip(first.dims, other.dims, strict=True)) if i != self.axis]
            require(all(same) and other.dtype == first.dtype, f"concat of {first} and {other} on axis {self.axis}")
            dims[self.axis] = dims[self.axis] + other.dims[self.axis]
        return (first.with_dims(dims),)

    def dependence(self, node: Node, seq: str) -> Dependence:
        mixes = any(value is not None and seq in symbols(value.dims[self.axis]) for value in node.inputs)
        return Dependence.GLOBAL if mixes else Dependence.POINTWISE
