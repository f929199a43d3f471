"""The update is left out."""

from __future__ import annotations

from flexit.ir.language.kinds import PositiveInt
from flexit.runtime.train.non_finite import Answer, NonFinite


class Skip(NonFinite, kind="skip"):
    """The update is left out, and the run goes on with the next batch."""

    most: PositiveInt = 3
    """Updates in a row that may be left out; one more ends the run."""

    def answer(self, *, in_a_row: int, rollbacks: int) -> Answer | None:
        del rollbacks
        return "skip" if in_a_row < self.most else None
