"""A score per class, or a number per target, for a whole row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from flexit.ir.block import Block, EdgeName, Fault, Port
from flexit.ir.blocks._dense import Dense, in_dense
from flexit.ir.blocks._pooling import Method, pooled
from flexit.ir.expansion.edges import Logits, Sequence, Vector
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import INFERRED, PositiveInt, Probability


class RowHead(Block):
    """Pool, dense, dropout, linear."""

    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence", "vector"))}
    output: ClassVar[EdgeName | Literal["same"]] = "logits"

    n_labels: PositiveInt
    """Classes, or target numbers."""
    pool: Annotated[Method | None, INFERRED] = None
    """How a sequence becomes a vector; required for a sequence, refused for a vector."""
    dense: Dense | None = None
    """A hidden layer."""
    dropout: Probability = 0.0
    """Before the linear map."""
    bias: bool = True
    """Of the linear map."""

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        return in_dense(self.dense, path) or super().child(path)

    @property
    def why_not_packed(self) -> str:
        return "makes one vector of a row" if self.pool is not None else ""

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        sequence = isinstance(ports["x"], Sequence)
        if sequence and self.pool is None:
            yield Fault(
                code="FX0511", field="pool", message="is missing for a sequence",
                expected="first, last, mean or max", found="nothing", cure="add pool: first (BERT) or pool: mean",
            )  # fmt: skip
        if not sequence and self.pool is not None:
            yield Fault(
                code="FX0511", field="pool", message="cannot be given for a vector",
                expected="nothing, since x is one vector per row already", found=self.pool, cure="delete pool",
            )  # fmt: skip

    def expand(self, e: Expander, x: Sequence | Vector) -> Logits:
        v = pooled(e, x, self.pool) if isinstance(x, Sequence) and self.pool else x.x
        v = v if self.dense is None else self.dense.apply(e, v)
        return Logits(x=e.linear(e.dropout(v, self.dropout), self.n_labels, "out", bias=self.bias, role="head"))
