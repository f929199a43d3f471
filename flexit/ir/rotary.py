"""Rotation of queries and keys (RoPE, Su et al. 2021), as the language says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.language import INFERRED, Group, PositiveFloat


class Rotary(Group):
    """Channel pair i of the first ``dim`` channels turns by p * theta^(-2i/dim)."""

    later: ClassVar[tuple[str, ...]] = ("scaling", "xpos_base", "on_value")

    theta: PositiveFloat = 10000.0
    """Base of the frequencies, over 1."""
    style: Literal["half", "interleaved"] = "half"
    """Pairs (i, i + dim/2) (Llama, NeoX), or (2i, 2i+1) (GPT-J, Cohere)."""
    dim: Annotated[Annotated[int, Field(ge=2)] | None, INFERRED] = None
    """Channels that turn; inferred: all of the head."""

    def check(self) -> Iterator[Fault]:
        """Faults of the group, in its own fields."""
        yield from check_theta(self.theta)


def check_theta(theta: float) -> Iterator[Fault]:
    """A base of frequencies must be over 1, or they do not fall."""
    if theta <= 1:
        yield Fault(
            code="FX0406", field="theta", message="is no base of falling frequencies", expected="a number over 1",
            found=str(theta), cure="write 10000.0, or leave theta out",
        )  # fmt: skip
