"""``mlp``: down(act(up(x)))."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from flexit.ir.block import FeedForward, Norm
from flexit.ir.blocks._feed_forward import MlpBias, biases
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.activations import Activation, activate
from flexit.ir.language.kinds import PositiveInt, Probability


class Mlp(FeedForward, kind="mlp"):
    """down(act(up(x)))."""

    formula = "y = W_down act(W_up x + a) + b"
    source = "Vaswani et al. 2017, arXiv 1706.03762, section 3.3"
    also_called: ClassVar[Mapping[str, str]] = {
        "ffn": "", "ff": "", "feed_forward": "", "feedforward": "", "dense": "",
    }  # fmt: skip
    usual: ClassVar[bool] = True
    widths: ClassVar[Mapping[str, int]] = {"d_ff": 4}
    examples = (
        {"kind": "mlp", "d_ff": 24},
        {"kind": "mlp", "d_ff": 24, "activation": "relu2", "bias": True, "norm": "layer_norm", "dropout": 0.1},
        {"kind": "mlp", "d_ff": 24, "activation": "xielu"},
    )

    d_ff: PositiveInt
    """Width between the projections."""
    activation: Activation = "gelu"
    """Function after the up projection."""
    bias: bool | MlpBias = False
    """Biases of the projections."""
    norm: Norm | None = None
    """Before the down projection (BitNet, NormFormer)."""
    dropout: Probability = 0.0
    """After the activation."""

    def expand(self, e: Expander, x: Sequence) -> Sequence:
        bias = biases(self.bias)
        h = activate(e, self.activation, e.linear(x.x, self.d_ff, "up_proj", bias=bias.in_))
        h = e.dropout(h, self.dropout)
        h = h if self.norm is None else self.norm.apply(e, h, "norm")
        return x.of(e.linear(h, x.width, "down_proj", bias=bias.out, role="residual_projection"))
