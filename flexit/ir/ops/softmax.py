"""``softmax`` over the last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.dims import symbols
from flexit.ir.ops.op import Dependence, Op
from flexit.ir.program import Node
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Op):
    """``x -> same``."""

    name: ClassVar[str] = "softmax"

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and x.dtype == "f32", f"softmax of {x}")
        assert x is not None
        return (x,)

    def dependence(self, node: Node, seq: str) -> Dependence:
        (x,) = node.inputs
        assert x is not None
        return Dependence.GLOBAL if seq in symbols(x.dims[-1]) else Dependence.POINTWISE
