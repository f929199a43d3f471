"""What happens between the heads of an attention and its last projection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from flexit.ir.attention.projections import channels
from flexit.ir.block import Norm
from flexit.ir.language.kinds import Group
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Output(Group):
    """Between the heads and the output projection: norm, then gate."""

    norm: Norm | None = None
    """Over all heads at once (BitNet, Magneto)."""
    gate: Literal["sigmoid"] | None = None
    """Times sigmoid(W x), one gate per channel (AFMoE, Qwen3-Next)."""

    def apply(self, e: Expander, y: Value, *, x: Value) -> Value:
        """``y [batch, seq, heads * v_head_dim]`` normed and gated by the attention's input ``x``."""
        if self.norm is not None:
            y = self.norm.apply(e, y, "norm")
        if self.gate is not None:
            y = e.mul(y, e.unary(self.gate, e.linear(x, channels(y), "gate_proj", role="gate")))
        return y
