"""``gated_mlp``: down(act(gate(x)) * up(x)) (Shazeer 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from flexit.ir.block import FeedForward, Norm
from flexit.ir.blocks._feed_forward import MlpBias, biases
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.activations import Activation, activate
from flexit.ir.language.kinds import Group, PositiveFloat, PositiveInt, Probability
from flexit.ir.program import Value


class Clamp(Group):
    """Limits before the product: gate at most gate_max, up within +-up_abs, then up + up_offset (gpt-oss)."""

    gate_max: PositiveFloat
    """Largest value that goes into the activation."""
    up_abs: PositiveFloat
    """Largest absolute value of up."""
    up_offset: float = 0.0
    """Added to up after that (gpt-oss: 1)."""

    def apply(self, e: Expander, gate: Value, up: Value) -> tuple[Value, Value]:
        """Both within their limits."""
        up = e.binary("max", e.binary("min", up, self.up_abs), -self.up_abs)
        return e.binary("min", gate, self.gate_max), up if self.up_offset == 0.0 else e.add(up, self.up_offset)


class GatedMlp(FeedForward, kind="gated_mlp"):
    """down(act(gate(x)) * up(x))."""

    formula = "y = W_down (act(W_gate x + a) * (W_up x + b)) + c"
    source = "Shazeer 2020, arXiv 2002.05202; limits as in gpt-oss"
    also_called: ClassVar[Mapping[str, str]] = {
        "swiglu": "", "glu": "activation: sigmoid", "geglu": "activation: gelu", "reglu": "activation: relu",
        "gated": "",
    }  # fmt: skip
    widths: ClassVar[Mapping[str, int]] = {"d_ff": 4}
    examples = (
        {"kind": "gated_mlp", "d_ff": 24},
        {"kind": "gated_mlp", "d_ff": 24, "activation": "gelu", "bias": {"in": True}, "norm": "rms_norm"},
        {
            "kind": "gated_mlp",
            "d_ff": 24,
            "activation": "quick_gelu",
            "bias": True,
            "clamp": {"gate_max": 0.5, "up_abs": 0.75, "up_offset": 1.0},
        },
    )

    d_ff: PositiveInt
    """Width between the projections."""
    activation: Activation = "silu"
    """Function of the gate."""
    bias: bool | MlpBias = False
    """Biases of the projections."""
    norm: Norm | None = None
    """Before the down projection."""
    clamp: Clamp | None = None
    """Limits of gate and up (gpt-oss)."""
    dropout: Probability = 0.0
    """After the product."""

    def expand(self, e: Expander, x: Sequence) -> Sequence:
        bias = biases(self.bias)
        gate = e.linear(x.x, self.d_ff, "gate_proj", bias=bias.in_)
        up = e.linear(x.x, self.d_ff, "up_proj", bias=bias.in_)
        if self.clamp is not None:
            gate, up = self.clamp.apply(e, gate, up)
        h = e.dropout(e.mul(activate(e, self.activation, gate), up), self.dropout)
        h = h if self.norm is None else self.norm.apply(e, h, "norm")
        return x.of(e.linear(h, x.width, "down_proj", bias=bias.out, role="residual_projection"))
