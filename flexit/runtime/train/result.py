"""What came of a run, and of a look at held-out data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        step: updates made, in all.
        tokens: labels learned from, in all.
        loss: of the last update; None if this call made none.
        validation_loss: of the last evaluation, if there was one.
        stopped_by: what ended it before its time, the name of a signal or ``limit.minutes``, or None; it can go on.
        checkpoint: the newest checkpoint, if the run has a folder.
        early: whether a callback called it done before its last step.
    """

    step: int
    tokens: int
    loss: float | None
    validation_loss: float | None
    stopped_by: str | None
    checkpoint: Path | None
    early: bool = False


class HeldOut(NamedTuple):
    """What came of an evaluation: the step after which it was, the loss, and what checkpoints are ranked by."""

    step: int
    loss: float
    score: float
