"""``dot_product``: how alike two vectors are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from flexit.ir.block import Block, EdgeName, Fault, Port
from flexit.ir.blocks._variadic import one_width
from flexit.ir.expansion.edges import Logits, Vector
from flexit.ir.expansion.expander import Expander


class DotProduct(Block, kind="dot_product"):
    """Scalar product of exactly two vectors, one score per row."""

    formula = "s = sum_c a_c b_c"
    source = "its definition; two towers as in Karpukhin et al. 2020 (DPR), arXiv 2004.04906"
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("vector",), variadic=True, chains=False)}
    output: ClassVar[EdgeName | Literal["same"]] = "logits"
    examples = ({"kind": "dot_product"},)

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        if len(ports["x"]) != 2:
            yield Fault(
                code="FX0305", field="from", message="the port x takes two edges", expected="exactly two vectors",
                found=str(len(ports["x"])), cure="name two blocks, and put another one after the others",
            )  # fmt: skip
        yield from one_width(self, ports["x"])

    def expand(self, e: Expander, x: list[Vector]) -> Logits:
        one, other = x
        return Logits(x=e.reduce("sum", e.mul(one.x, other.x), 1, keep=True))
