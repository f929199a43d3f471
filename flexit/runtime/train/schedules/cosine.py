"""Half a cosine wave."""

from __future__ import annotations

import math

from flexit.runtime.train.fields import Factor
from flexit.runtime.train.optimisation.schedule import Schedule


class Cosine(Schedule, kind="cosine"):
    """Down in half a cosine wave to ``final`` at the last step (Loshchilov and Hutter 2017, without restarts)."""

    formula = "final + (1 - final) (1 + cos(pi done)) / 2"
    source = "Loshchilov and Hutter 2017, SGDR, equation 5, one period"

    final: Factor = 0.1
    """Last factor."""

    def after(self, made: int, steps: int) -> float:
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * self.done(made, steps)))
