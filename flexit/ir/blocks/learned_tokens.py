"""``learned_tokens``: trained vectors that stand in every row, such as memory tokens or latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from flexit.ir.block import Block, EdgeName, Port
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import PositiveInt


class LearnedTokens(Block, kind="learned_tokens"):
    """``n_tokens`` trained vectors per row, of the width of ``like``, with positions of their own."""

    formula = "y_t = M[t] for t < n_tokens, in every row"
    source = (
        "Burtsev et al. 2020 (Memory Transformer), arXiv 2006.11527; latents: Jaegle et al. 2021 (Perceiver), arXiv "
        "2103.03206"
    )
    inputs: ClassVar[Mapping[str, Port]] = {"like": Port(("sequence",), chains=False)}
    output: ClassVar[EdgeName | Literal["same"]] = "sequence"
    examples = ({"kind": "learned_tokens", "n_tokens": 3},)

    n_tokens: PositiveInt
    """How many."""

    @property
    def why_not_packed(self) -> str:
        return "gives a row tokens that are of no document"

    @property
    def lengthens(self) -> bool:
        return True

    def expand(self, e: Expander, like: Sequence) -> Sequence:
        rows = e.parameter("tokens", (self.n_tokens, like.width), "learned_tokens")
        x = e.repeat(e.reshape(rows, 1, "=0", "=1"), 0, like.axis.key_mask)
        return Sequence(x=x, axis=e.counted(self.n_tokens, like.axis.key_mask))
