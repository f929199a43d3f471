"""``concat``: edges side by side, or one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from flexit.ir.block import Block, Fault, Port
from flexit.ir.blocks._variadic import one_length, one_type, one_width
from flexit.ir.expansion.edges import Edge, Sequence, Vector
from flexit.ir.expansion.expander import Expander


class Concat(Block, kind="concat"):
    """The channels of all edges; or sequences of one width one after the other, with their masks, counted anew."""

    formula = "channels: y_t = [x_1,t, ..., x_n,t];  length: y = x_1, then x_2, ..., then x_n"
    source = "its definition"
    also_called: ClassVar[Mapping[str, str]] = {"cat": "", "concatenate": ""}
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence", "vector"), variadic=True, chains=False)}
    examples = ({"kind": "concat"}, {"kind": "concat", "axis": "length"})

    axis: Literal["channels", "length"] = "channels"
    """What becomes longer."""

    @property
    def why_not_packed(self) -> str:
        return "joins rows, whose documents lie apart then" if self.axis == "length" else ""

    @property
    def lengthens(self) -> bool:
        return self.axis == "length"

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        xs = ports["x"]
        differ = list(one_type(self, xs))
        if not differ and self.axis == "length" and isinstance(xs[0], Vector):
            differ.append(Fault(
                code="FX0302", field="axis", message="vectors have no length to be joined along",
                expected="sequences, or axis: channels", found="vectors", cure="delete axis",
            ))  # fmt: skip
        yield from differ or (one_width if self.axis == "length" else one_length)(self, xs)

    def expand(self, e: Expander, x: list[Any]) -> Edge:
        values = [edge.x for edge in x]
        if self.axis == "channels":
            return x[0].of(e.concat(values, -1))
        return Sequence(x=e.concat(values, 1), axis=e.joined([edge.axis for edge in x]))
