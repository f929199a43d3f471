"""``matmul``: batched matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.dims import symbols
from flexit.ir.ops.op import Dependence, Measure, Op, product
from flexit.ir.program import Node
from flexit.ir.types import Type, broadcast, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Matmul(Op):
    """``x[..., m, k], y[..., k, n] -> [..., m, n]``."""

    name: ClassVar[str] = "matmul"

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        x, y = inputs
        assert x is not None and y is not None
        require(x.dims[-1] == y.dims[-2], f"matmul of {x} and {y}")
        return (x.with_dims((*broadcast(x.dims[:-2], y.dims[:-2]), x.dims[-2], y.dims[-1])),)

    def flops(self, node: Node, measure: Measure) -> int:
        x = node.inputs[0]
        assert x is not None
        return 2 * product(node.output.dims, measure) * measure(x.dims[-1])

    def dependence(self, node: Node, seq: str) -> Dependence:
        x = node.inputs[0]
        assert x is not None
        return Dependence.GLOBAL if seq in symbols(x.dims[-1]) else Dependence.POINTWISE
