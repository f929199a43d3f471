"""What a callback may do. Behaviour around the training loop lives in subclasses, one per file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexit.runtime.train.step import Step
    from flexit.runtime.train.trainer import Trainer


class Callback:
    """Does nothing at every occasion; override what is needed.

    Callbacks are called in the order in which the trainer has them: metrics, progress, evaluation, those of the user,
    checkpoints. A state is kept in checkpoints under the class's name.
    """

    def start(self, trainer: Trainer) -> None:
        """The run begins or goes on; ``trainer.step`` updates have been made."""

    def after_step(self, trainer: Trainer, step: Step) -> None:
        """An update has been made."""

    def after_evaluation(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        """The held-out text has been looked at."""

    def before_checkpoint(self, trainer: Trainer) -> None:
        """What belongs to this step must be on the disk when this returns."""

    def after_checkpoint(self, trainer: Trainer, folder: Path) -> None:
        """A checkpoint is durable, and ``LATEST`` names it."""

    def end(self, trainer: Trainer) -> None:
        """The last step is done, or a signal came. Not called after an error."""

    def close(self, trainer: Trainer) -> None:
        """Always called last, after an error too."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold, as JSON data."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
