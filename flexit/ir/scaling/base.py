"""What a rotary scaling is: other frequencies, so that a model reads longer texts than it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flexit.ir.block import Fault
from flexit.ir.language.kinds import Kind
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander

SHORTEST = 2
"""Smallest ``original_max_len``: below it there is nothing to extend, and logarithms of it vanish."""


class Scaling(Kind, family="Scaling", package="flexit.ir.scaling"):
    """How the frequencies of a rotation change."""

    by_length: ClassVar[bool] = False
    """Whether they depend on the length of the row, so that keys are cached unrotated."""
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    """Tiny instances, as written."""

    @property
    def amplitude(self) -> float:
        """Factor on cosines and sines."""
        return 1.0

    @property
    def score_factor(self) -> float:
        """Factor on the scores where only some channels turn, of heads that are scored as a whole."""
        return 1.0

    def check(self) -> Iterator[Fault]:
        """Faults that the fields alone show."""
        length: int | None = getattr(self, "original_max_len", None)
        if length is not None and length < SHORTEST:
            yield Fault(
                code="FX0406", field="original_max_len", message="too short to be extended",
                expected=f"at least {SHORTEST}", found=str(length),
                cure="write the length that the model was first trained on",
            )  # fmt: skip

    def check_for(self, *, dim: int, head_dim: int, style: str) -> Iterator[Fault]:
        """Faults that show once the rotated width is known."""
        del dim, head_dim, style
        yield from ()

    def width(self, *, dim: int, head_dim: int) -> int:
        """Channels that are turned in pairs, of which some may turn by nothing."""
        del head_dim
        return dim

    def frequencies(self, *, theta: float, dim: int, head_dim: int) -> list[float]:
        """Of each channel pair; where they depend on the length, those of short rows."""
        raise NotImplementedError

    def stretched(self, e: Expander, length: Value, *, theta: float, dim: int) -> Value:
        """Frequencies by row, ``[batch, 1, dim / 2]``, if they depend on ``length [batch, 1, 1]``, an fp32 value."""
        raise NotImplementedError


def plain(theta: float, dim: int) -> list[float]:
    """theta^(-2i / dim) for each channel pair i."""
    return [theta ** (-2 * pair / dim) for pair in range(dim // 2)]


def too_narrow(dim: int) -> Iterator[Fault]:
    """FX0406 for scalings whose exponent is dim / (dim - 2)."""
    if dim < 4:
        yield Fault(
            code="FX0406", field="", message="too few rotated channels", expected="a rotary.dim of at least 4",
            found=str(dim), cure="set rotary.dim to 4 or more, or delete scaling",
        )  # fmt: skip
