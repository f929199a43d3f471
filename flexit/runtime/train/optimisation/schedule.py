"""What a schedule of the run config is: learning-rate factors as pure functions of the step, so that a resumed run
needs no state for them.
"""

from __future__ import annotations

from collections.abc import Iterator

from flexit.errors import UserError
from flexit.ir.language.kinds import Kind
from flexit.runtime.train.fields import NotNegativeInt
from flexit.runtime.train.optimisation.optimizer import Misfit


class Schedule(Kind, family="Schedule", package="flexit.runtime.train.schedules"):
    """Factor on the learning rate, by step."""

    warmup: NotNegativeInt = 0
    """Steps in which the factor grows from 0 to 1."""

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied with in update ``step`` (from 0) of ``steps``.

        The warm-up reaches 1 in its last step, a decay its last factor in the last step of all.
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        return self.after(step + 1, steps)

    def after(self, made: int, steps: int) -> float:
        """The factor once warmed up, of the update that makes ``made`` of ``steps``."""
        raise NotImplementedError

    def done(self, made: int, steps: int) -> float:
        """How much of what follows the warm-up is made, from 0 to 1."""
        return min(1.0, (made - self.warmup) / max(1, steps - self.warmup))

    def misfits(self, steps: int) -> Iterator[Misfit]:
        """What of it does not fit a run of so many steps."""
        if self.warmup >= steps:
            yield Misfit(
                "warmup", "FX1507", "the warm-up is as long as the run", f"fewer than steps, {steps}",
                str(self.warmup), f"set schedule.warmup to {steps // 10}",
            )  # fmt: skip


def require_room(schedule: Schedule, steps: int) -> None:
    """Raise unless a schedule fits a run: its warm-up ends before the run does.

    Raises:
        UserError: FX1507.
    """
    for wrong in schedule.misfits(steps):
        raise UserError.of(
            wrong.code, wrong.message, path=f"schedule.{wrong.field}", expected=wrong.expected, found=wrong.found,
            cure=wrong.cure,
        )  # fmt: skip
