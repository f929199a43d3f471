"""``linear``: position interpolation (Chen et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from flexit.ir.language.kinds import PositiveFloat
from flexit.ir.scaling.base import Scaling, plain


class Linear(Scaling, kind="linear"):
    """Every frequency / factor."""

    formula = "f_i' = f_i / factor"
    source = "Chen et al. 2023 (position interpolation), arXiv 2306.15595"
    also_called: ClassVar[Mapping[str, str]] = {"position_interpolation": "", "interpolation": ""}
    examples = ({"kind": "linear", "factor": 4.0},)

    factor: PositiveFloat
    """How many times longer texts become."""

    def frequencies(self, *, theta: float, dim: int, head_dim: int) -> list[float]:
        del head_dim
        return [frequency / self.factor for frequency in plain(theta, dim)]
