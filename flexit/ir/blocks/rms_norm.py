"""``rms_norm``: x / sqrt(mean(x^2) + eps) * gain over the channels (Zhang and Sennrich 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from flexit.ir.block import Fault, Norm
from flexit.ir.blocks._norms import inert_gain_offset
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import PositiveFloat
from flexit.ir.program import Value


class RmsNorm(Norm, kind="rms_norm"):
    """x / sqrt(mean(x^2) + eps) * gain, over the channels."""

    formula = "y = x / sqrt(mean(x^2) + eps) * (gain_offset + gain), over the channels"
    source = "Zhang and Sennrich 2019, arXiv 1910.07467"
    also_called: ClassVar[Mapping[str, str]] = {"rms": "", "rmsnorm": ""}
    usual: ClassVar[bool] = True
    examples = ({"kind": "rms_norm"}, {"kind": "rms_norm", "gain_offset": 1.0}, {"kind": "rms_norm", "gain": "scalar"})

    eps: PositiveFloat = 1e-6
    """Added to the mean square."""
    gain: bool | Literal["scalar"] = True
    """Learned factor per channel; ``scalar``: one for all channels (ScaleNorm)."""
    gain_offset: float = 0.0
    """Added to the stored gain before use (Gemma: 1)."""
    fp32_gain: bool = False
    """Multiply before casting back, which differs below fp32 only (Gemma, OLMo2, gpt-oss)."""

    def check(self) -> Iterator[Fault]:
        yield from inert_gain_offset(self.gain, self.gain_offset)
        if self.fp32_gain and not self.gain:
            yield Fault(
                code="FX0501", field="fp32_gain", message="has no effect", expected="false, since gain is off",
                found="true", cure="delete fp32_gain, or set gain: true",
            )  # fmt: skip

    def apply(self, e: Expander, x: Value, name: str) -> Value:
        return e.norm(
            x, "rms", name, eps=self.eps, gain=self.gain, bias=False, offset=self.gain_offset, fp32_gain=self.fp32_gain
        )
