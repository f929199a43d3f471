"""``reduce``: sum, mean or maximum along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.dims import symbols
from flexit.ir.ops.op import Dependence, Op
from flexit.ir.program import Node
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduce(Op):
    """``x -> y`` without ``axis``, or with size 1 there if ``keep``."""

    name: ClassVar[str] = "reduce"
    fn: Literal["sum", "mean", "max"]
    axis: int
    keep: bool = False

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and 0 <= self.axis < x.rank, f"reduce axis {self.axis} of {x}")
        assert x is not None
        return (x.with_dims((*x.dims[: self.axis], *([1] if self.keep else []), *x.dims[self.axis + 1 :])),)

    def dependence(self, node: Node, seq: str) -> Dependence:
        (x,) = node.inputs
        assert x is not None
        return Dependence.GLOBAL if seq in symbols(x.dims[self.axis]) else Dependence.POINTWISE
