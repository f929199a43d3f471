"""``pool``: one vector per row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from flexit.ir.block import Block, EdgeName
from flexit.ir.blocks._dense import Dense, in_dense
from flexit.ir.blocks._pooling import Method, pooled
from flexit.ir.expansion.edges import Sequence, Vector
from flexit.ir.expansion.expander import Expander


class Pool(Block, kind="pool"):
    """A vector from a sequence, over its unpadded positions."""

    formula = "first, last, mean or max of the unpadded x_t; then dense; then v / |v|"
    source = "Devlin et al. 2019, arXiv 1810.04805; Reimers and Gurevych 2019 (Sentence-BERT), arXiv 1908.10084"
    also_called: ClassVar[Mapping[str, str]] = {"pooler": "", "pooling": "", "mean_pooling": "method: mean"}
    output: ClassVar[EdgeName | Literal["same"]] = "vector"
    examples = (
        {"kind": "pool", "method": "mean"},
        {"kind": "pool", "method": "first", "dense": {"bias": True}},
        {"kind": "pool", "method": "last", "normalize": True},
        {"kind": "pool", "method": "max"},
    )

    method: Method
    """Which positions count and how."""
    dense: Dense | None = None
    """A hidden layer on the result (BERT's pooler)."""
    normalize: bool = False
    """Divide by the L2 norm (sentence embeddings)."""

    @property
    def why_not_packed(self) -> str:
        return "makes one vector of a row"

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        return in_dense(self.dense, path) or super().child(path)

    def expand(self, e: Expander, x: Sequence) -> Vector:
        v = pooled(e, x, self.method)
        v = v if self.dense is None else self.dense.apply(e, v)
        v = e.norm(v, "l2", "l2", eps=1e-24, gain=False, bias=False) if self.normalize else v
        return Vector(x=v, rows=x.axis.key_mask)
