"""``std_norm``: (x - mean) / (std + eps) * gain + bias over the channels, the standard deviation unbiased."""

from __future__ import annotations

from typing import Literal

from flexit.ir.block import Fault, Norm
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import PositiveFloat
from flexit.ir.program import Value


class StdNorm(Norm, kind="std_norm"):
    """(x - mean) / (std + eps) * gain + bias, over the channels, with the unbiased standard deviation.

    It is the layer norm of FlexiTransformers; that of everyone else is another kind.
    """

    formula = "y = (x - mean(x)) / (std(x) + eps) * gain + bias, over the channels, std unbiased"
    source = "FlexiTransformers' LayerNorm, after The Annotated Transformer (Rush 2018)"
    examples = ({"kind": "std_norm"}, {"kind": "std_norm", "eps": 0.01})

    eps: PositiveFloat = 1e-6
    """Added to the standard deviation."""

    @property
    def learned(self) -> tuple[bool | Literal["scalar"], bool]:
        return True, True

    def apply(self, e: Expander, x: Value, name: str) -> Value:
        return self._normed(e, x, name, learned=True)

    def bare(self, e: Expander, x: Value, name: str) -> Value:
        return self._normed(e, x, name, learned=False)

    def _normed(self, e: Expander, x: Value, name: str, *, learned: bool) -> Value:
        if x.dims[-1] == 1:
            e.refuse_in(self, name, Fault(
                code="FX0406", field="", message="one channel has no standard deviation",
                expected="2 channels or more", found="1", cure="widen its input, or use another norm",
            ))  # fmt: skip
        return e.norm(x, "std", name, eps=self.eps, gain=learned, bias=learned)
