"""How parameters get their first values, as the language says it. Drawing them is a lowering's business."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from flexit.ir.language.kinds import Kind, PositiveFloat

ROLES = (
    "default", "embedding", "position", "token_type", "learned_tokens", "projection", "query_projection",
    "residual_projection", "gate", "conv", "router", "score_bias", "head", "gain", "bias", "sink",
)  # fmt: skip
"""Roles that ``init:`` may name."""

FOLLOWS = {"query_projection": "projection", "residual_projection": "projection"}
"""Role whose entry stands in where a role has none of its own; any other weight follows ``default``."""


class Init(Kind, family="Init"):
    """A way to draw a parameter."""


class Normal(Init, kind="normal"):
    """Gaussian with mean 0."""

    std: PositiveFloat | Literal["rsqrt_d_model", "rsqrt_fan_in", "rsqrt_fan_in_head_dim"] = 0.02
    """Standard deviation; ``d_model`` is the width of the block's input, of an embedding its output."""
    depth_scaled: bool = False
    """Divide by the square root of the number of residual branches on the path to the output (GPT-2)."""


class TruncatedNormal(Init, kind="truncated_normal"):
    """Gaussian with mean 0, cut at two standard deviations."""

    std: PositiveFloat | Literal["rsqrt_d_model", "rsqrt_fan_in", "rsqrt_fan_in_head_dim"] = 0.02
    """Standard deviation before the cut; ``d_model`` as in ``normal``."""
    depth_scaled: bool = False
    """Divide by the square root of the number of residual branches on the path to the output."""


class XavierUniform(Init, kind="xavier_uniform"):
    """Uniform within gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    gain: PositiveFloat = 1.0
    """Factor."""
    depth_scaled: bool = False
    """Divide by the square root of the number of residual branches on the path to the output."""


class XavierNormal(Init, kind="xavier_normal"):
    """Gaussian of std gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    gain: PositiveFloat = 1.0
    """Factor."""
    depth_scaled: bool = False
    """Divide by the square root of the number of residual branches on the path to the output."""


class KaimingUniform(Init, kind="kaiming_uniform"):
    """Uniform within sqrt(3) * gain / sqrt(fan) (He et al. 2015)."""

    gain: PositiveFloat = 1.4142135623730951
    """Factor; 1.0 is LeCun's."""
    fan: Literal["in", "out"] = "in"
    """Which side of the weight counts."""


class KaimingNormal(Init, kind="kaiming_normal"):
    """Gaussian of std gain / sqrt(fan) (He et al. 2015)."""

    gain: PositiveFloat = 1.4142135623730951
    """Factor; 1.0 is LeCun's."""
    fan: Literal["in", "out"] = "in"
    """Which side of the weight counts."""


class Uniform(Init, kind="uniform"):
    """Uniform within +-limit."""

    limit: PositiveFloat
    """Largest absolute value."""


class Orthogonal(Init, kind="orthogonal"):
    """A random matrix with orthonormal rows or columns (Saxe et al. 2013)."""

    gain: PositiveFloat = 1.0
    """Factor."""


class Constant(Init, kind="constant"):
    """One number everywhere."""

    value: Annotated[float, Field(allow_inf_nan=False)]
    """The number."""


class Zeros(Init, kind="zeros"):
    """0 everywhere."""

    number: ClassVar[float] = 0.0


class Ones(Init, kind="ones"):
    """1 everywhere."""

    number: ClassVar[float] = 1.0
