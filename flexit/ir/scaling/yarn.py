"""``yarn``: a blend of scaled and unscaled frequencies (Peng et al. 2023, arXiv 2309.00071)."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor, log, pi
from typing import Annotated

from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.language.kinds import INFERRED, PositiveFloat, PositiveInt
from flexit.ir.scaling.base import Scaling, plain


class Yarn(Scaling, kind="yarn"):
    """Pairs that turn often within the original length keep their frequency, slow ones are divided by factor."""

    formula = (
        "f' = f (1 - r) + f r / factor, r a ramp from 0 to 1 over the pairs between beta_fast and beta_slow turns in "
        "L; cos and sin times 0.1 ln(factor) + 1"
    )
    source = "Peng et al. 2023, arXiv 2309.00071; Hugging Face's rope type yarn"
    examples = (
        {"kind": "yarn", "factor": 4.0, "original_max_len": 4096},
        {
            "kind": "yarn", "factor": 4.0, "original_max_len": 4096, "beta_fast": 16.0, "beta_slow": 0.5,
            "truncate": False, "attention_factor": 1.1,
        },
        {"kind": "yarn", "factor": 8.0, "original_max_len": 4096, "mscale": 1.0, "mscale_all_dim": 0.5},
    )  # fmt: skip

    factor: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    """How many times longer texts become."""
    original_max_len: PositiveInt
    """Length that the model was first trained on."""
    beta_fast: PositiveFloat = 32.0
    """First end of the ramp, in turns within the original length."""
    beta_slow: PositiveFloat = 1.0
    """Second end."""
    truncate: bool = True
    """Round the ends outwards to whole pairs (gpt-oss: false)."""
    attention_factor: Annotated[PositiveFloat | None, INFERRED] = None
    """On cosines and sines; inferred: m(mscale) / m(mscale_all_dim), m(1) when both are null; m(s) is
    0.1 * s * ln(factor) + 1.
    """
    mscale: PositiveFloat | None = None
    """With mscale_all_dim, not with attention_factor."""
    mscale_all_dim: PositiveFloat | None = None
    """Latent attention multiplies its scale by the square of m of this too (DeepSeek)."""

    @property
    def amplitude(self) -> float:
        if self.attention_factor is not None:
            return self.attention_factor
        if self.mscale is None or self.mscale_all_dim is None:
            return self.magnitude(1.0)
        return self.magnitude(self.mscale) / self.magnitude(self.mscale_all_dim)

    @property
    def score_factor(self) -> float:
        return 1.0 if self.mscale_all_dim is None else self.magnitude(self.mscale_all_dim) ** 2

    def magnitude(self, scale: float) -> float:
        """m(scale)."""
        return 0.1 * scale * log(self.factor) + 1

    def check(self) -> Iterator[Fault]:
        yield from super().check()
        if self.beta_slow >= self.beta_fast:
            yield Fault(
                code="FX0406", field="beta_slow", message="not under beta_fast",
                expected=f"less than {self.beta_fast}", found=str(self.beta_slow),
                cure="write the smaller of the two as beta_slow",
            )  # fmt: skip
        if (self.mscale is None) != (self.mscale_all_dim is None):
            alone, other = ("mscale", "mscale_all_dim") if self.mscale_all_dim is None else ("mscale_all_dim", "mscale")
            yield Fault(
                code="FX0511", field=alone, message=f"stands without {other}",
                expected="both of mscale and mscale_all_dim, or neither", found=f"{alone} alone",
                cure=f"write {other} too, or delete {alone}",
            )  # fmt: skip
        elif self.mscale is not None and self.attention_factor is not None:
            yield Fault(
                code="FX0511", field="attention_factor", message="stands beside mscale and mscale_all_dim",
                expected="one or the other: attention_factor follows from the two", found=str(self.attention_factor),
                cure="delete attention_factor, or mscale and mscale_all_dim",
            )  # fmt: skip

    def frequencies(self, *, theta: float, dim: int, head_dim: int) -> list[float]:
        del head_dim
        low, high = self._ramp(theta, dim)
        found: list[float] = []
        for pair, frequency in enumerate(plain(theta, dim)):
            share = min(max((pair - low) / (high - low), 0.0), 1.0)
            found.append(frequency * (1 - share + share / self.factor))
        return found

    def _ramp(self, theta: float, dim: int) -> tuple[float, float]:
        """The pairs between which frequencies blend."""

        def end(turns: float) -> float:
            return dim * log(self.original_max_len / (2 * pi * turns)) / (2 * log(theta))

        low, high = end(self.beta_fast), end(self.beta_slow)
        if self.truncate:
            low, high = floor(low), ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        return (low, high + 0.001) if low == high else (low, high)
