"""``add``: the sum of several edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from flexit.ir.block import Block, Fault, Port
from flexit.ir.blocks._variadic import same_shape
from flexit.ir.expansion.edges import Edge
from flexit.ir.expansion.expander import Expander


class Add(Block, kind="add"):
    """Sum of sequences of one width and length, or of vectors of one width."""

    formula = "y = x_1 + ... + x_n"
    source = "its definition"
    also_called: ClassVar[Mapping[str, str]] = {"sum": ""}
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence", "vector"), variadic=True, chains=False)}
    examples = ({"kind": "add"},)

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        yield from same_shape(self, ports["x"])

    def expand(self, e: Expander, x: list[Any]) -> Edge:
        total = x[0].x
        for edge in x[1:]:
            total = e.add(total, edge.x)
        return x[0].of(total)
