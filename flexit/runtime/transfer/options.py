"""How the weights of one model become those of another: what a user may choose."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from flexit.ir.language.kinds import Group
from flexit.runtime.train.optimisation.selection import Selection

Depth = Literal["interleave", "repeat", "upscale"]
Added = Literal["identity", "copy"]
Width = Literal["zero", "duplicate"]
NewTokens = Literal["mean", "draw"]


class Options(Group):
    """How tensors that differ are carried over."""

    examples: ClassVar = ({}, {"depth": "repeat", "added_layers": "copy"})

    depth: Depth = "interleave"
    """Which layer a layer begins as, where their number differs."""
    added_layers: Added = "identity"
    """Whether a layer that is there twice adds nothing at first, or what it was copied from adds."""
    width: Width = "zero"
    """What wider matrices have where there was nothing."""
    new_tokens: NewTokens = "mean"
    """What rows of tokens begin as that the old vocabulary has not."""
    rename: dict[str, str] = Field(default_factory=dict[str, str])
    """Beginnings of names in the old model that are others in the new one."""
    new: list[Selection] = Field(default_factory=list[Selection])
    """Parameters that are drawn anew in any case."""


class WeightsFrom(Options):
    """The model that a run begins with the weights of."""

    examples: ClassVar = ({"path": "runs/first"}, {"path": "models/minilm", "new": [{"role": "head"}]})

    path: str
    """A checkpoint, a run, or another library's checkpoint."""
