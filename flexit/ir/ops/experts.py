"""``experts``: a feed-forward chosen per token from many, its body any region of ops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Measure, Op, product
from flexit.ir.program import Node, Region
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts(Op):
    """``x[..., d], index i64[..., k], weight[..., k] -> [..., d']``: sum over k of weight * body_index(x).

    Attributes:
        n_experts: how many bodies there are; every parameter of the body has a leading axis of this size.
        body: a region ``[tokens, d] -> [tokens, d']``; slots are its parameter paths.
        weight_on: whether the weight multiplies the body's output or its input.
    """

    name: ClassVar[str] = "experts"
    n_experts: int
    body: Region
    weight_on: Literal["output", "input"] = "output"

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        x, index, weight = inputs
        assert x is not None and index is not None and weight is not None
        require(index.dims == weight.dims and x.dims[:-1] == index.dims[:-1], f"experts of {x} by {index}")
        return (x.with_dims((*x.dims[:-1], self.body.outputs[0].dims[-1])),)

    def flops(self, node: Node, measure: Measure) -> int:
        index = node.inputs[1]
        assert index is not None
        tokens = product(index.dims, measure)
        return sum(
            inner.op.flops(inner, lambda size: tokens if not isinstance(size, int) else size)
            for inner in self.body.nodes
            if isinstance(inner, Node)
        )
