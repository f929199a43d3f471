"""``llama3``: slow pairs are slowed down further, fast ones are not (Llama 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi

from flexit.ir.block import Fault
from flexit.ir.language.kinds import PositiveFloat, PositiveInt
from flexit.ir.scaling.base import Scaling, plain


class Llama3(Scaling, kind="llama3"):
    """Long wavelengths / factor, short ones unchanged, blended between."""

    formula = (
        "f' = f where L / wavelength > high, f / factor where it is < low, between: (1 - s) f / factor + s f,  s = (L"
        " / wavelength - low) / (high - low)"
    )
    source = "Meta 2024 (Llama 3.1), arXiv 2407.21783; Hugging Face's rope type llama3"
    examples = (
        {"kind": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_len": 32},
    )

    factor: PositiveFloat
    """Divides the frequencies of long wavelengths."""
    low_freq_factor: PositiveFloat
    """Long are wavelengths over original_max_len / this."""
    high_freq_factor: PositiveFloat
    """Short are wavelengths under original_max_len / this."""
    original_max_len: PositiveInt
    """Length that the model was first trained on."""

    def check(self) -> Iterator[Fault]:
        yield from super().check()
        if self.low_freq_factor >= self.high_freq_factor:
            yield Fault(
                code="FX0406", field="low_freq_factor", message="not under high_freq_factor",
                expected=f"less than {self.high_freq_factor}", found=str(self.low_freq_factor),
                cure="write the smaller of the two as low_freq_factor (Llama 3.1: 1 and 4)",
            )  # fmt: skip

    def frequencies(self, *, theta: float, dim: int, head_dim: int) -> list[float]:
        del head_dim
        return [self._blended(frequency) for frequency in plain(theta, dim)]

    def _blended(self, frequency: float) -> float:
        turns = self.original_max_len * frequency / (2 * pi)
        if turns < self.low_freq_factor:
            return frequency / self.factor
        if turns > self.high_freq_factor:
            return frequency
        share = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        return frequency * ((1 - share) / self.factor + share)
