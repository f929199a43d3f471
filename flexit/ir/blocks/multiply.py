"""``multiply``: the product of several edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from flexit.ir.block import Block, Fault, Port
from flexit.ir.blocks._variadic import one_length, one_width
from flexit.ir.expansion.edges import Edge, Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.program import Value


class Multiply(Block, kind="multiply"):
    """Product of edges of one width; a vector is broadcast over the positions of the sequences."""

    formula = "y = x_1 * ... * x_n, channel by channel"
    source = "its definition"
    also_called: ClassVar[Mapping[str, str]] = {"mul": "", "product": ""}
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence", "vector"), variadic=True, chains=False)}
    examples = ({"kind": "multiply"},)

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        yield from one_width(self, ports["x"])
        yield from one_length(self, ports["x"])

    def expand(self, e: Expander, x: list[Any]) -> Edge:
        first = next((edge for edge in x if isinstance(edge, Sequence)), x[0])
        product: Value | None = None
        for edge in x:
            spread = isinstance(first, Sequence) and not isinstance(edge, Sequence)
            part = e.reshape(edge.x, "=0", 1, "*") if spread else edge.x
            product = part if product is None else e.mul(product, part)
        assert product is not None
        return first.of(product)
