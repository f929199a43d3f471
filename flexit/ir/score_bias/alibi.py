"""``alibi``: a penalty that grows with the distance, one slope per head and nothing trained (Press et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from flexit.ir.block import Fault
from flexit.ir.expansion.edges import Axis
from flexit.ir.language.kinds import PositiveFloat
from flexit.ir.program import Value
from flexit.ir.score_bias._distances import distances
from flexit.ir.score_bias.base import Bias, Heads, Reader, Terms

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Alibi(Bias, kind="alibi"):
    """-slope_h * |d|."""

    formula = "b[h, i, j] = -m_h |i - j|,  m_h = 2^(-bias_max h / n) for h = 1..n, n heads a power of two"
    source = "Press, Smith and Lewis 2022, arXiv 2108.12409; other head counts as in its reference code"
    examples = ({"kind": "alibi", "bias_max": 4.0}, {"kind": "alibi", "scaled": True, "round": "bf16"})

    bias_max: PositiveFloat = 8.0
    """The last of a power of two heads has the slope 2^-bias_max."""
    scaled: bool = False
    """Also times scores.scale (Falcon)."""
    round: Literal["bf16"] | None = None
    """Round slope, rank and product as Falcon does; only under causal and without sinks."""

    def check_for(self, heads: Heads) -> Iterator[Fault]:
        if self.round is not None and (not heads.causal or heads.sinks):
            yield Fault(
                code="FX0511", field="round", message="only under mask: causal and without sinks",
                expected="null, since what is rounded counts from the row's first token and not from the query",
                found=self.round, cure="delete round, or write mask: causal and no sinks",
            )  # fmt: skip

    def prepare(self, e: Expander, axis: Axis, heads: Heads) -> tuple[Value, ...]:
        slopes = e.constant(self._slopes(heads.n_heads), (1, heads.n_heads, 1, 1))
        if self.round is None:
            d = distances(e, axis, heads)
            nearness = e.binary("min", d, e.mul(d, -1.0))
            return (e.mul(e.cast(e.reshape(nearness, "=0", 1, "=1", "=2"), "f32"), slopes),)
        rank = e.unary("round_bf16", e.cast(e.reshape(heads.key_rank(axis), "=0", 1, 1, "=1"), "f32"))
        return (e.unary("round_bf16", e.mul(rank, e.unary("round_bf16", slopes))),)

    def added(self, e: Expander, prepared: tuple[Value, ...], reader: Reader) -> Terms:
        (bias,) = prepared
        return Terms(outer=e.like(e.mul(bias, reader.scale) if self.scaled else bias, reader.q))

    def _slopes(self, n_heads: int) -> tuple[float, ...]:
        """Of each head; beyond a power of two those of twice as many heads, every other one."""
        power = 1 << (n_heads.bit_length() - 1)
        steps = [(h + 1) / power if h < power else (2 * (h - power) + 1) / (2 * power) for h in range(n_heads)]
        return tuple(2.0 ** (-self.bias_max * step) for step in steps)
