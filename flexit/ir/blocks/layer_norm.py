"""``layer_norm``: (x - mean) / sqrt(var + eps) * gain + bias over the channels (Ba et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from flexit.ir.block import Fault, Norm
from flexit.ir.blocks._norms import inert_gain_offset
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import PositiveFloat
from flexit.ir.program import Value


class LayerNorm(Norm, kind="layer_norm"):
    """(x - mean) / sqrt(var + eps) * gain + bias, over the channels."""

    formula = "y = (x - mean(x)) / sqrt(var(x) + eps) * gain + bias, over the channels, var biased"
    source = "Ba, Kiros and Hinton 2016, arXiv 1607.06450"
    also_called: ClassVar[Mapping[str, str]] = {"ln": "", "layernorm": ""}
    examples = ({"kind": "layer_norm"}, {"kind": "layer_norm", "eps": 1e-3, "gain": False, "bias": False})

    eps: PositiveFloat = 1e-5
    """Added to the variance."""
    gain: bool | Literal["scalar"] = True
    """Learned factor per channel; ``scalar``: one for all channels."""
    bias: bool = True
    """Learned offset per channel."""
    gain_offset: float = 0.0
    """Added to the stored gain before use."""

    def check(self) -> Iterator[Fault]:
        yield from inert_gain_offset(self.gain, self.gain_offset)

    def apply(self, e: Expander, x: Value, name: str) -> Value:
        return e.norm(x, "layer", name, eps=self.eps, gain=self.gain, bias=self.bias, offset=self.gain_offset)
