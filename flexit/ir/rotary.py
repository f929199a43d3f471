"""Rotation of queries and keys (RoPE, Su et al. 2021), as the language says it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from flexit.ir.language import INFERRED, Group


class Rotary(Group):
    """Channel pair i of the first ``dim`` channels turns by p * theta^(-2i/dim)."""

    later: ClassVar[tuple[str, ...]] = ("scaling", "xpos_base", "on_value")

    theta: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 10000.0
    """Base of the frequencies."""
    style: Literal["half", "interleaved"] = "half"
    """Pairs (i, i + dim/2) (Llama, NeoX), or (2i, 2i+1) (GPT-J, Cohere)."""
    dim: Annotated[Annotated[int, Field(ge=2)] | None, INFERRED] = None
    """Channels that turn; inferred: all of the head."""
