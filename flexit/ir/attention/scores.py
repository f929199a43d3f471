"""What happens between q, k and the weights: temperature, scale, softcap, bias, mask, sinks, softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from flexit.ir.block import Block, Fault
from flexit.ir.expansion.edges import Axis
from flexit.ir.language.kinds import Group, PositiveFloat, PositiveInt
from flexit.ir.program import Value
from flexit.ir.score_bias.base import Bias, Terms

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Temperature(Group):
    """q * (1 + scale * log(1 + floor((p + offset) / floor))) at position id p (Llama 4, Ministral 3)."""

    scale: PositiveFloat
    """Factor on the logarithm."""
    floor: PositiveInt
    """Positions that share one temperature."""
    offset: Literal[0, 1] = 0
    """Added to every position id (Llama 4: 1)."""

    def factors(self, e: Expander, axis: Axis) -> Value:
        """One factor per query, ``[batch, 1, seq, 1]`` in fp32. Made once per axis."""

        def make() -> Value:
            steps = e.binary("div", e.add(e.cast(axis.position_ids, "f32"), float(self.offset)), float(self.floor))
            logs = e.unary("log", e.add(e.unary("floor", steps), 1.0))
            return e.reshape(e.add(e.mul(logs, self.scale), 1.0), "=0", 1, "=1", 1)

        return e.hoist(("temperature", self.scale, self.floor, self.offset), [axis.position_ids], (), make=make)


class Scores(Group):
    """scale * (q.k + inner bias), softcap, + outer bias, mask, sinks, softmax."""

    scale: PositiveFloat | Literal["rsqrt_head_dim"] = "rsqrt_head_dim"
    """Factor on q.k; 1.0 = none (T5, GPT-Neo)."""
    inverse_layer_scale: bool = False
    """Also divide by the index of the layer in its stack + 1 (a GPT-2 flag)."""
    softcap: PositiveFloat | None = None
    """c * tanh(s / c) (Gemma 2)."""
    bias: Bias | None = None
    """This attention's own bias."""
    sinks: Literal["learned", "zero"] | None = None
    """One more logit per head in the denominator of the softmax (gpt-oss: learned)."""
    temperature: Temperature | None = None
    """A factor on q that grows with its position."""

    def factor(self, head_dim: int) -> float:
        """The scale as a number."""
        return head_dim**-0.5 if self.scale == "rsqrt_head_dim" else self.scale

    def tempered(self, e: Expander, q: Value, axis: Axis) -> Value:
        """Queries ``[batch, heads, seq, head_dim]`` times the temperature of their positions."""
        return q if self.temperature is None else e.mul(q, e.like(self.temperature.factors(e, axis), q))

    def mixed(
        self, e: Expander, *, q: Value, k: Value, v: Value, mask: Value, causal: bool, dropout: float, terms: Terms,
        scale: float, by_layer: Value | None, keyless: bool = False,
    ) -> Value:  # fmt: skip
        """The values weighted: ``[batch, n_heads, seq, v_head_dim]``; ``by_layer`` is one more factor on the scale, and
        ``keyless`` says that a query may have no key.
        """
        scale = scale / terms.divisor
        inner, bias = terms.inner, terms.outer
        if by_layer is not None:
            q = e.mul(q, e.like(by_layer, q))
        if inner is not None:
            inner = e.mul(inner, scale)
            inner = inner if by_layer is None else e.mul(inner, e.like(by_layer, inner))
        if inner is not None and self.softcap is None:
            inner, bias = None, inner if bias is None else e.add(bias, inner)
        return e.attention(
            q, k, v, mask=mask, inner=inner, bias=bias, sinks=self._sinks(e, q), value_table=terms.values,
            scale=scale, softcap=self.softcap, causal=causal, dropout=dropout, keyless=keyless,
        )  # fmt: skip

    def _sinks(self, e: Expander, q: Value) -> Value | None:
        """The additional logits, ``[n_heads]``."""
        n_heads = q.dims[1]
        assert isinstance(n_heads, int)
        if self.sinks == "learned":
            return e.parameter("sinks", (n_heads,), "sink")
        return None if self.sinks is None else e.like(e.full((n_heads,), 0.0), q)

    def by_layer(self, e: Expander, block: Block) -> Value | None:
        """1 / (layer index + 1) as a value, so that layers which differ in it alone share their code.

        Raises:
            Unexpanded: there is no layer.
        """
        if not self.inverse_layer_scale:
            return None
        index: int | None = e.provided("layer_index")
        if index is None:
            e.refuse(block, Fault(
                code="FX0511", field="scores.inverse_layer_scale", message="there is no layer to count",
                expected="false, since no stack is around it", found="true",
                cure="delete scores.inverse_layer_scale, or put the attention into the layer of a stack",
            ))  # fmt: skip
        assert index is not None
        return e.hoist(("by_layer", index), [], (), make=lambda: e.full((1,), 1.0 / (index + 1)))
