"""Learning-rate factors, as pure functions of the step, so that a resumed run needs no state for them."""

from __future__ import annotations

import math

from flexit.errors import UserError
from flexit.runtime.train.config import Cosine, Linear, Schedule


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """What the learning rate is multiplied with in update ``step`` (from 0) of ``steps``.

    The warm-up reaches 1 in its last step, the decay ``final`` in the last step of all. Cosine: Loshchilov and Hutter
    2017, equation 5, one period.
    """
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    done = min(1.0, (step - schedule.warmup + 1) / max(1, steps - schedule.warmup))
    if isinstance(schedule, Linear):
        return 1.0 - (1.0 - schedule.final) * done
    if isinstance(schedule, Cosine):
        return schedule.final + (1.0 - schedule.final) * 0.5 * (1.0 + math.cos(math.pi * done))
    return 1.0


def require_room(schedule: Schedule, steps: int) -> None:
    """Raise unless the warm-up ends before the run does.

    Raises:
        UserError: FX1507.
    """
    if schedule.warmup >= steps:
        raise UserError.of(
            "FX1507", "the warm-up is as long as the run", path="schedule.warmup",
            expected=f"fewer than steps, {steps}",
            found=str(schedule.warmup), cure=f"set schedule.warmup to {steps // 10}",
        )  # fmt: skip
