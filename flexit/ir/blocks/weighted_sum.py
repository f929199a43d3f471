"""``weighted_sum``: a sum with learned weights, per input or per input and channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from flexit.ir.block import Block, Fault, Port
from flexit.ir.blocks._variadic import same_shape
from flexit.ir.expansion.edges import Edge
from flexit.ir.expansion.expander import Expander


class WeightedSum(Block, kind="weighted_sum"):
    """Sum of inputs times learned weights, one set per input."""

    formula = "y = sum_i w_i x_i, w or softmax(w)"
    source = "Peters et al. 2018 (ELMo), arXiv 1802.05365, equation 1 without its factor"
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence", "vector"), variadic=True, chains=False)}
    examples = ({"kind": "weighted_sum"}, {"kind": "weighted_sum", "weights": "channel", "softmax": True})

    weights: Literal["scalar", "channel"] = "scalar"
    """One weight per input, or one per input and channel."""
    softmax: bool = False
    """Softmax of the weights over the inputs."""
    initial: list[float] | None = None
    """First value of the weights, one per input; null: equal, summing to 1."""

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        edges = ports["x"]
        yield from same_shape(self, edges)
        if self.initial is not None and len(self.initial) != len(edges):
            yield Fault(
                code="FX0511", field="initial", message="does not have one number per input",
                expected=f"{len(edges)} numbers", found=str(len(self.initial)), cure=f"write {len(edges)} numbers",
            )  # fmt: skip

    def expand(self, e: Expander, x: list[Any]) -> Edge:
        count, width = len(x), x[0].width if self.weights == "channel" else 1
        each = self.initial or [0.0 if self.softmax else 1.0 / count] * count
        first = [number for number in each for _ in range(width)]
        table = e.parameter("weights", (count, width), "mix", first_value=first)
        if self.softmax:
            table = e.permute(e.softmax(e.permute(table, 1, 0)), 1, 0)
        total = None
        for index, edge in enumerate(x):
            row = e.slice(table, 0, start=index, stop=index + 1)
            part = e.mul(edge.x, e.reshape(row, width))
            total = part if total is None else e.add(total, part)
        assert total is not None
        return x[0].of(total)
