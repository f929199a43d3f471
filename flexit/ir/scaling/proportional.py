"""``proportional``: a part of the channels turns as slowly as if all did (Gemma 4)."""

from __future__ import annotations

from collections.abc import Iterator

from flexit.ir.block import Fault
from flexit.ir.language.kinds import PositiveFloat
from flexit.ir.scaling.base import Scaling


class Proportional(Scaling, kind="proportional"):
    """theta^(-2i / head_dim) / factor for the first dim / 2 pairs (i, i + head_dim / 2) of the head."""

    formula = "f_i = theta^(-2i / head_dim) / factor, i < dim / 2; the other pairs do not turn"
    source = "Hugging Face's rope type proportional (Gemma 4)"
    examples = ({"kind": "proportional", "factor": 2.0},)

    factor: PositiveFloat = 1.0
    """Divides every frequency."""

    def check_for(self, *, dim: int, head_dim: int, style: str) -> Iterator[Fault]:
        del dim
        if style != "half":
            yield Fault(
                code="FX0406", field="", message="pairs channels by halves of the head",
                expected="rotary.style half", found=style, cure="delete rotary.style, or scaling",
            )  # fmt: skip
        if head_dim % 2:
            yield Fault(
                code="FX0405", field="", message="cannot pair the channels of the head",
                expected="an even head_dim", found=str(head_dim), cure=f"set head_dim to {head_dim + 1}",
            )  # fmt: skip

    def width(self, *, dim: int, head_dim: int) -> int:
        del dim
        return head_dim

    def frequencies(self, *, theta: float, dim: int, head_dim: int) -> list[float]:
        turning = [theta ** (-2 * pair / head_dim) / self.factor for pair in range(dim // 2)]
        return turning + [0.0] * (head_dim // 2 - dim // 2)
