"""Warm-up, stable, decay."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from flexit.ir.language.kinds import INFERRED, PositiveInt
from flexit.runtime.train.fields import Factor
from flexit.runtime.train.optimisation.optimizer import Misfit
from flexit.runtime.train.optimisation.schedule import Schedule


class Wsd(Schedule, kind="wsd"):
    """Factor 1 after the warm-up, then down to ``final`` in the last steps (Hu et al. 2024)."""

    formula = "1, then final + (1 - final) f(d), with d from 0 to 1 and f = 1 - d, (1 + cos(pi d)) / 2 or 1 - sqrt(d)"
    source = "Hu et al. 2024, MiniCPM, equation 1; the shapes as in Hägele et al. 2024, equation 1 and section 3"

    decay: Annotated[PositiveInt | None, INFERRED] = None
    """Steps of the decay, which ends at the last step; inferred: a tenth of ``steps``, rounded up."""
    shape: Literal["linear", "cosine", "one_minus_sqrt"] = "linear"
    """The way down: a line, half a cosine wave, or one minus a square root."""
    final: Factor = 0.0
    """Last factor."""

    def after(self, made: int, steps: int) -> float:
        length = self._length(steps)
        d = max(0, made - (steps - length)) / length
        f = {"linear": 1.0 - d, "cosine": 0.5 * (1.0 + math.cos(math.pi * d)), "one_minus_sqrt": 1.0 - math.sqrt(d)}
        return self.final + (1.0 - self.final) * f[self.shape]

    def misfits(self, steps: int) -> Iterator[Misfit]:
        yield from super().misfits(steps)
        if self.warmup < steps < self.warmup + self._length(steps):
            yield Misfit(
                "decay", "FX1507", "the decay begins before the warm-up ends",
                f"at most {steps - self.warmup}, the steps that the warm-up leaves", str(self._length(steps)),
                f"set schedule.decay to {steps - self.warmup} or less",
            )  # fmt: skip

    def _length(self, steps: int) -> int:
        return self.decay or -(-steps // 10)
