"""The schedule of the original Transformer."""

from __future__ import annotations

import math

from flexit.ir.language.kinds import PositiveInt
from flexit.runtime.train.optimisation.schedule import Schedule


class InverseSqrt(Schedule, kind="inverse_sqrt"):
    """Down with the inverse square root of the step (Vaswani et al. 2017), whatever the length of the run."""

    formula = "sqrt(warmup / step)"
    source = "Vaswani et al. 2017, Attention Is All You Need, equation 3, over its peak (d_model * warmup)^-0.5"

    warmup: PositiveInt = 4000
    """Steps in which the factor grows from 0 to 1; what it falls by is measured in them."""

    def after(self, made: int, steps: int) -> float:
        del steps
        return math.sqrt(self.warmup / made)
