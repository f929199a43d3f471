"""``longrope``: one set of factors for short rows and one for long ones (Ding et al. 2024; Phi-3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log, sqrt
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.language.kinds import INFERRED, PositiveFloat, PositiveInt
from flexit.ir.program import Value
from flexit.ir.scaling.base import Scaling, plain

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Longrope(Scaling, kind="longrope"):
    """Frequencies / short_factor in rows up to original_max_len, / long_factor in longer ones."""

    formula = (
        "f_i' = f_i / short_factor_i where n <= L, f_i / long_factor_i beyond; cos and sin times "
        "sqrt(1 + ln(factor) / ln(L))"
    )
    source = "Ding et al. 2024, arXiv 2402.13753; Hugging Face's rope type longrope"
    also_called: ClassVar[Mapping[str, str]] = {"su": ""}
    by_length: ClassVar[bool] = True
    examples = (
        {"kind": "longrope", "short_factor": [1.0], "long_factor": [4.0], "original_max_len": 16, "factor": 4.0},
        {
            "kind": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 6.0], "original_max_len": 8,
            "factor": 2.0,
        },
        {
            "kind": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 6.0], "original_max_len": 8,
            "factor": 1.0, "attention_factor": 1.2,
        },
    )  # fmt: skip

    short_factor: list[PositiveFloat]
    """One number per channel pair: dim / 2."""
    long_factor: list[PositiveFloat]
    """As many, for rows longer than original_max_len; keys are cached unrotated, since all of them change there."""
    original_max_len: PositiveInt
    """Length that the model was first trained on."""
    factor: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    """Extended length / original_max_len."""
    attention_factor: Annotated[PositiveFloat | None, INFERRED] = None
    """On cosines and sines; inferred: sqrt(1 + ln(factor) / ln(original_max_len))."""

    @property
    def amplitude(self) -> float:
        if self.attention_factor is not None:
            return self.attention_factor
        return sqrt(1 + log(self.factor) / log(self.original_max_len))

    def check_for(self, *, dim: int, head_dim: int, style: str) -> Iterator[Fault]:
        del head_dim, style
        for field in ("short_factor", "long_factor"):
            count = len(getattr(self, field))
            if count != dim // 2:
                yield Fault(
                    code="FX0405", field=field, message="not one number per channel pair",
                    expected=f"{dim // 2}, since {dim} channels are rotated", found=str(count),
                    cure=f"write {dim // 2} numbers, or set rotary.dim to {2 * count}" if count else
                    f"write {dim // 2} numbers",
                )  # fmt: skip

    def frequencies(self, *, theta: float, dim: int, head_dim: int) -> list[float]:
        del head_dim
        return _divided(theta, dim, self.short_factor)

    def stretched(self, e: Expander, length: Value, *, theta: float, dim: int) -> Value:
        beyond = e.add(length, -float(self.original_max_len))
        is_long = e.binary("min", e.binary("max", beyond, 0.0), 1.0)
        is_short = e.add(e.unary("neg", is_long), 1.0)
        shape = (1, 1, dim // 2)
        long = e.mul(is_long, e.constant(_divided(theta, dim, self.long_factor), shape))
        return e.add(long, e.mul(is_short, e.constant(_divided(theta, dim, self.short_factor), shape)))


def _divided(theta: float, dim: int, factors: list[float]) -> list[float]:
    return [frequency / factor for frequency, factor in zip(plain(theta, dim), factors, strict=True)]
