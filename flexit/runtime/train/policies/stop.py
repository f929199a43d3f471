"""The run ends."""

from __future__ import annotations

from flexit.runtime.train.non_finite import Answer, NonFinite


class Stop(NonFinite, kind="stop"):
    """The run ends, with the weights before the update."""

    def answer(self, *, in_a_row: int, rollbacks: int) -> Answer | None:
        del in_a_row, rollbacks
        return None
