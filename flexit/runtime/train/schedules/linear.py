"""A straight line."""

from __future__ import annotations

from flexit.runtime.train.fields import Factor
from flexit.runtime.train.optimisation.schedule import Schedule


class Linear(Schedule, kind="linear"):
    """Down in a straight line to ``final`` at the last step."""

    formula = "1 - (1 - final) done"

    final: Factor = 0.0
    """Last factor."""

    def after(self, made: int, steps: int) -> float:
        return 1.0 - (1.0 - self.final) * self.done(made, steps)
