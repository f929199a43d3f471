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

    formula = "w ~ N(0, std^2); depth_scaled: std / sqrt(residual branches)"
    source = "Radford et al. 2019 (GPT-2), section 2.3"

    std: PositiveFloat | Literal["rsqrt_d_model", "rsqrt_fan_in", "rsqrt_fan_in_head_dim"] = 0.02
    """Standard deviation; ``d_model`` is the width of the block's input, of an embedding its output."""
    depth_scaled: bool = False
    """Divide by the square root of the number of residual branches on the path to the output (GPT-2)."""


class TruncatedNormal(Init, kind="truncated_normal"):
    """Gaussian with mean 0, cut at two standard deviations."""

    formula = "w ~ N(0, std^2) given |w| <= 2 std"
    source = "torch.nn.init.trunc_normal_"

    std: PositiveFloat | Literal["rsqrt_d_model", "rsqrt_fan_in", "rsqrt_fan_in_head_dim"] = 0.02
    """Standard deviation before the cut; ``d_model`` as in ``normal``."""
    depth_scaled: bool = False
    """Divide by the square root of the number of residual branches on the path to the output."""


class XavierUniform(Init, kind="xavier_uniform"):
    """Uniform within gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    formula = "w ~ U(-a, a),  a = gain sqrt(6 / (fan_in + fan_out))"
    source = "Glorot and Bengio 2010, AISTATS; torch.nn.init.xavier_uniform_"

    gain: PositiveFloat = 1.0
    """Factor."""
    depth_scaled: bool = False
    """Divide by the square root of the number of residual branches on the path to the output."""


class XavierNormal(Init, kind="xavier_normal"):
    """Gaussian of std gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""

    formula = "w ~ N(0, 2 gain^2 / (fan_in + fan_out))"
    source = "Glorot and Bengio 2010, AISTATS; torch.nn.init.xavier_normal_"

    gain: PositiveFloat = 1.0
    """Factor."""
    depth_scaled: bool = False
    """Divide by the square root of the number of residual branches on the path to the output."""


class KaimingUniform(Init, kind="kaiming_uniform"):
    """Uniform within sqrt(3) * gain / sqrt(fan) (He et al. 2015)."""

    formula = "w ~ U(-a, a),  a = gain sqrt(3 / fan)"
    source = "He et al. 2015, arXiv 1502.01852; torch.nn.init.kaiming_uniform_"

    gain: PositiveFloat = 1.4142135623730951
    """Factor; 1.0 is LeCun's."""
    fan: Literal["in", "out"] = "in"
    """Which side of the weight counts."""


class KaimingNormal(Init, kind="kaiming_normal"):
    """Gaussian of std gain / sqrt(fan) (He et al. 2015)."""

    formula = "w ~ N(0, gain^2 / fan)"
    source = "He et al. 2015, arXiv 1502.01852; torch.nn.init.kaiming_normal_"

    gain: PositiveFloat = 1.4142135623730951
    """Factor; 1.0 is LeCun's."""
    fan: Literal["in", "out"] = "in"
    """Which side of the weight counts."""


class Uniform(Init, kind="uniform"):
    """Uniform within +-limit."""

    formula = "w ~ U(-limit, limit)"
    source = "its definition; torch.nn.init.uniform_"

    limit: PositiveFloat
    """Largest absolute value."""


class Orthogonal(Init, kind="orthogonal"):
    """A random matrix with orthonormal rows or columns (Saxe et al. 2013)."""

    formula = "w = gain Q, Q^T Q = 1 or Q Q^T = 1"
    source = "Saxe, McClelland and Ganguli 2013, arXiv 1312.6120; torch.nn.init.orthogonal_"

    gain: PositiveFloat = 1.0
    """Factor."""


class Constant(Init, kind="constant"):
    """One number everywhere."""

    formula = "w = value"
    source = "its definition"

    value: Annotated[float, Field(allow_inf_nan=False)]
    """The number."""


class Zeros(Init, kind="zeros"):
    """0 everywhere."""

    formula = "w = 0"
    source = "its definition"
    number: ClassVar[float] = 0.0


class Ones(Init, kind="ones"):
    """1 everywhere."""

    formula = "w = 1"
    source = "its definition"
    number: ClassVar[float] = 1.0
