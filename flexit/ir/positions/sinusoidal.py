"""``sinusoidal``: fixed sines and cosines (Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.expansion.edges import Axis, Tokens
from flexit.ir.language.kinds import PositiveFloat
from flexit.ir.language.rotary import check_theta
from flexit.ir.positions.base import Ids, Position, Rank
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Sinusoidal(Position, kind="sinusoidal"):
    """sin and cos of p * theta^(-2i/d); no parameters, no length limit."""

    formula = (
        "interleaved: P[p, 2i] = sin(p f_i), P[p, 2i+1] = cos(p f_i); else all sines, then all cosines; f_i = "
        "theta^(-2i/d), fairseq: theta^(-i/(d/2 - 1))"
    )
    source = "Vaswani et al. 2017, arXiv 1706.03762, section 3.5; fairseq's SinusoidalPositionalEmbedding"
    also_called: ClassVar[Mapping[str, str]] = {"sin": "", "sine": "", "sincos": "", "fixed": ""}

    style: Literal["interleaved", "concat", "fairseq"] = "interleaved"
    """sin, cos in turn (Vaswani); all sin then all cos (Marian); the same with exponent -i/(d/2-1) (M2M, XGLM)."""
    theta: PositiveFloat = 10000.0
    """Base of the frequencies, over 1."""
    offset: Annotated[int, Field(ge=0)] = 0
    """Added to every position id."""
    ids: Ids = Rank()
    """The position ids where none are passed."""

    def check(self) -> Iterator[Fault]:
        yield from check_theta(self.theta)

    def check_width(self, width: int) -> Iterator[Fault]:
        if width % 2:
            yield Fault(
                code="FX0405", field="d_model", message="odd width of a sinusoidal table",
                expected="an even number, since sines and cosines come in pairs", found=str(width),
                cure=f"set d_model to {width + 1}",
            )  # fmt: skip
        elif self.style == "fairseq" and width < 4:
            yield Fault(
                code="FX0406", field="d_model", message="too narrow for fairseq sinusoids",
                expected="at least 4", found=str(width), cure="set d_model to 4 or more",
            )  # fmt: skip

    def expand(self, e: Expander, axis: Axis, width: int, *, tokens: Tokens | None = None) -> Value:
        half = width // 2
        steps = half - 1 if self.style == "fairseq" else half
        frequencies = e.constant([self.theta ** (-pair / steps) for pair in range(half)], (1, 1, half))
        ids = self.ids.of(e, axis, tokens)
        ids = ids if self.offset == 0 else e.add(ids, float(self.offset))
        angles = e.mul(e.reshape(e.cast(ids, "f32"), "=0", "=1", 1), frequencies)
        parts = [e.unary("sin", angles), e.unary("cos", angles)]
        if self.style != "interleaved":
            return e.concat(parts, -1)
        pairs = e.concat([e.reshape(part, "=0", "=1", half, 1) for part in parts], -1)
        return e.reshape(pairs, "=0", "=1", "*")
