"""The run goes back to a checkpoint, and on with other data."""

from __future__ import annotations

from flexit.ir.language.kinds import PositiveInt
from flexit.runtime.train.non_finite import Answer, NonFinite


class Rollback(NonFinite, kind="rollback"):
    """The run goes back to its newest checkpoint and on with the data that comes after (Chowdhery et al. 2022)."""

    source = "Chowdhery et al. 2022, PaLM, section 5.1: restart before the spike, skip the batches that led to it"

    most: PositiveInt = 3
    """Times that a run may go back; one more ends it."""

    def answer(self, *, in_a_row: int, rollbacks: int) -> Answer | None:
        del in_a_row
        return "rollback" if rollbacks < self.most else None
