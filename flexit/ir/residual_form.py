"""How the branches of a layer and its skip are joined, as the language says it."""

from __future__ import annotations

from typing import Literal

from flexit.ir.language import Kind, PositiveFloat


class ResidualForm(Kind, family="Residual"):
    """How branches and skips are joined."""

    multiplier: PositiveFloat | dict[str, PositiveFloat]
    skip_multiplier: float
    layer_scale: float | None
    skip_from: Literal["input", "normed"]


class Sequential(ResidualForm, kind="sequential"):
    """One sub-layer after the other."""

    multiplier: PositiveFloat | dict[str, PositiveFloat] = 1.0
    """On the branch (Granite, MiniCPM); per sub-layer: {feed_forward: 0.5}."""
    skip_multiplier: PositiveFloat = 1.0
    """On the skip (DeepNorm)."""
    layer_scale: float | None = None
    """A learned vector on the branch, this its first value (CaiT)."""
    skip_from: Literal["input", "normed"] = "input"
    """normed: the skip starts after the input norm (a Bloom flag)."""
