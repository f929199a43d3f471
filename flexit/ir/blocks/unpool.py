"""``unpool``: a sequence from a vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from flexit.ir.block import Block, EdgeName, Port
from flexit.ir.expansion.edges import Sequence, Vector
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import PositiveInt


class Unpool(Block, kind="unpool"):
    """One linear map to n_tokens * width, cut into ``n_tokens`` vectors of the width of x."""

    formula = "y_t = W_t v + b_t for t < n_tokens"
    source = "prefixes from a vector as in Mokady et al. 2021 (ClipCap), arXiv 2111.09734"
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("vector",))}
    output: ClassVar[EdgeName | Literal["same"]] = "sequence"
    examples = ({"kind": "unpool", "n_tokens": 3}, {"kind": "unpool", "n_tokens": 1, "bias": True})

    n_tokens: PositiveInt
    """How many."""
    bias: bool = False
    """Of the linear map."""

    @property
    def lengthens(self) -> bool:
        return True

    def expand(self, e: Expander, x: Vector) -> Sequence:
        flat = e.linear(x.x, self.n_tokens * x.width, "projection", bias=self.bias)
        return Sequence(x=e.reshape(flat, "=0", self.n_tokens, x.width), axis=e.counted(self.n_tokens, x.rows))
