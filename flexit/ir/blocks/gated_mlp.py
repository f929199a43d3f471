"""``gated_mlp``: down(act(gate(x)) * up(x)) (Shazeer 2020)."""

from __future__ import annotations

from typing import ClassVar

from flexit.ir.activations import Activation, activate
from flexit.ir.block import FeedForward, Norm
from flexit.ir.blocks._feed_forward import MlpBias, biases
from flexit.ir.edges import Sequence
from flexit.ir.expander import Expander
from flexit.ir.language import PositiveInt, Probability


class GatedMlp(FeedForward, kind="gated_mlp"):
    """down(act(gate(x)) * up(x))."""

    later: ClassVar[tuple[str, ...]] = ("clamp",)
    examples = (
        {"kind": "gated_mlp", "d_ff": 24},
        {"kind": "gated_mlp", "d_ff": 24, "activation": "gelu", "bias": {"in": True}, "norm": "rms_norm"},
    )

    d_ff: PositiveInt
    """Width between the projections."""
    activation: Activation = "silu"
    """Function of the gate."""
    bias: bool | MlpBias = False
    """Biases of the projections."""
    norm: Norm | None = None
    """Before the down projection."""
    dropout: Probability = 0.0
    """After the product."""

    def expand(self, e: Expander, x: Sequence) -> Sequence:
        bias = biases(self.bias)
        gate = activate(e, self.activation, e.linear(x.x, self.d_ff, "gate_proj", bias=bias.in_))
        h = e.mul(gate, e.linear(x.x, self.d_ff, "up_proj", bias=bias.in_))
        h = e.dropout(h, self.dropout)
        h = h if self.norm is None else self.norm.apply(e, h, "norm")
        return x.of(e.linear(h, x.width, "down_proj", bias=bias.out, role="residual_projection"))
