"""``add_position``: a position table on any sequence, such as given embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from flexit.ir.block import Block, EdgeName, Fault, Port
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.expansion.reach import check_reach
from flexit.ir.positions.base import Position


class AddPosition(Block, kind="add_position"):
    """x + the rows of a position table."""

    formula = "y_t = x_t + P[p_t]"
    source = "Vaswani et al. 2017, arXiv 1706.03762, section 3.5"
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence",))}
    output: ClassVar[EdgeName | Literal["same"]] = "sequence"
    examples = (
        {"kind": "add_position", "position": {"kind": "learned", "max_len": 40, "offset": 1}},
        {"kind": "add_position", "position": {"kind": "sinusoidal", "style": "concat", "ids": "slot"}},
    )

    position: Position
    """The table; its ids cannot be counted from tokens, which a sequence does not carry."""

    @property
    def max_len(self) -> int | None:
        return self.position.max_positions

    @property
    def orders(self) -> bool:
        return True

    def check(self) -> Iterator[Fault]:
        yield from (replace(fault, field=f"position.{fault.field}") for fault in self.position.check())
        if self.position.reads_tokens:
            yield Fault(
                code="FX0508", field="position.ids", message="needs tokens, and a sequence has none",
                expected="ids: rank or slot, or this table in an embedding", found="ids that count tokens",
                cure="write the position in the embedding (from: input_ids), or delete ids here",
            )  # fmt: skip

    def check_ports(self, **ports: Sequence) -> Iterator[Fault]:
        yield from check_reach("position.max_len", self.position.max_positions, ports["x"])
        for fault in self.position.check_width(ports["x"].width):
            cure = "set the width of x so that it fits, or write another position here"
            yield replace(fault, field="position", found=f"{fault.found}, the width of x", cure=cure)

    def expand(self, e: Expander, x: Sequence) -> Sequence:
        return x.of(e.add(x.x, e.like(self.position.expand(e, x.axis, x.width), x.x)))
