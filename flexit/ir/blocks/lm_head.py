"""``lm_head``: the scores of a language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from flexit.ir.blocks._table_head import TableHead
from flexit.ir.expansion.edges import Logits, Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import Group, PositiveFloat, PositiveInt
from flexit.ir.program import Value


class HeadProjection(Group):
    """A map to the table's width."""

    dim: PositiveInt
    """That width."""
    bias: bool = False
    """Add a learned offset."""


class LmHead(TableHead, kind="lm_head"):
    """softcap(multiplier * (table . (input_multiplier * x) + bias))."""

    formula = "z = cap(multiplier (E (input_multiplier x) + b)),  cap(z) = c tanh(z / c) or z"
    source = "tied: Press and Wolf 2017, arXiv 1608.05859; softcap: Gemma Team 2024, arXiv 2408.00118"
    also_called: ClassVar[Mapping[str, str]] = {
        "lm": "", "causal_lm": "", "causal_lm_head": "", "language_model_head": "", "unembedding": "",
    }  # fmt: skip
    examples = (
        {"kind": "lm_head", "vocab_size": 31},
        {"kind": "lm_head", "vocab_size": 31, "bias": True, "multiplier": 0.5, "softcap": 4.0},
        {
            "kind": "lm_head", "vocab_size": 31, "projection": {"dim": 6, "bias": True},
            "input_multiplier": "rsqrt_d_model",
        },
    )  # fmt: skip

    bias: bool = False
    """One learned number per class."""
    projection: HeadProjection | None = None
    """First a map to the table's width (OPT-350m)."""
    input_multiplier: PositiveFloat | Literal["rsqrt_d_model"] = 1.0
    """On what the table reads (T5 v1.0, MiniCPM); ``rsqrt_d_model``: by the width of x."""
    multiplier: PositiveFloat = 1.0
    """On the logits (Cohere, Granite)."""
    softcap: PositiveFloat | None = None
    """c * tanh(logits / c) (Gemma2: 30)."""

    def expand(self, e: Expander, x: Sequence) -> Logits:
        h, widened = x.x, ("tied_to", "write projection: {{dim: {width}}}")
        if self.projection is not None:
            h = e.linear(h, self.projection.dim, "projection", bias=self.projection.bias)
            widened = ("projection.dim", "set projection.dim to {width}")
        h = e.mul(h, x.width**-0.5 if self.input_multiplier == "rsqrt_d_model" else self.input_multiplier)
        logits = self.scores(e, h, bias=self.bias, widened=widened)
        return Logits(x=self._capped(e, e.mul(logits, self.multiplier)))

    def _capped(self, e: Expander, logits: Value) -> Value:
        return logits if self.softcap is None else e.mul(e.unary("tanh", e.mul(logits, 1 / self.softcap)), self.softcap)
