"""What a run does at a loss or gradient that is not finite: kinds of :mod:`flexit.runtime.train.policies`."""

from __future__ import annotations

from typing import Literal

from flexit.ir.language.kinds import Kind

Answer = Literal["skip", "rollback"]


class NonFinite(Kind, family="NonFinite", package="flexit.runtime.train.policies"):
    """What happens at a loss or gradient that is not finite."""

    def answer(self, *, in_a_row: int, rollbacks: int) -> Answer | None:
        """What to do; None to stop.

        Args:
            in_a_row: updates that were left out since the last that was made.
            rollbacks: times that the run went back.
        """
        raise NotImplementedError
