"""What happens between q, k and the weights: scale, bias, mask, softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from flexit.ir.attention.projections import channels
from flexit.ir.language import Group, PositiveFloat
from flexit.ir.program import Value
from flexit.ir.score_bias.base import Bias, Terms

if TYPE_CHECKING:
    from flexit.ir.expander import Expander


class Scores(Group):
    """scale * q.k, + bias, mask, softmax."""

    later: ClassVar[tuple[str, ...]] = ("inverse_layer_scale", "softcap", "sinks", "temperature")

    scale: PositiveFloat | Literal["rsqrt_head_dim"] = "rsqrt_head_dim"
    """Factor on q.k; 1.0 = none (T5, GPT-Neo)."""
    bias: Bias | None = None
    """This attention's own bias."""

    def factor(self, head_dim: int) -> float:
        """The scale as a number."""
        return head_dim**-0.5 if self.scale == "rsqrt_head_dim" else self.scale

    def mixed(
        self, e: Expander, *, q: Value, k: Value, v: Value, mask: Value, causal: bool, dropout: float, terms: Terms
    ) -> Value:  # fmt: skip
        """The values weighted: ``[batch, n_heads, seq, v_head_dim]``."""
        scale = self.factor(channels(q)) / terms.divisor
        bias = terms.outer
        if terms.inner is not None:
            inner = e.mul(terms.inner, scale)
            bias = inner if bias is None else e.add(bias, inner)
        return e.attention(
            q, k, v, mask=mask, bias=bias, value_table=terms.values, scale=scale, causal=causal, dropout=dropout
        )
