"""What a callback may do. Behaviour around the training loop lives in subclasses, one per file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexit.errors import UserError

if TYPE_CHECKING:
    from flexit.runtime.train.failures.mishaps import Failure
    from flexit.runtime.train.trainer import Trainer
    from flexit.runtime.train.update.step import Step


class Callback:
    """Does nothing at every occasion; override what is needed.

    Callbacks are called in the order in which the trainer has them: trackers, metrics, progress, evaluation, early
    stopping, those of the user, checkpoints, statistics, the time limit, the entry of the start. A state is kept in
    checkpoints under :attr:`state_key`.
    """

    @property
    def state_key(self) -> str:
        """Names the state in checkpoints: the class's name, unless it is overridden.

        Several callbacks with one key are told apart by their order: ``Count``, ``Count#2``, ``Count#3``. Override it
        where their number or order may change between a run and its continuation.
        """
        return type(self).__name__

    def start(self, trainer: Trainer) -> None:
        """The run begins or goes on; ``trainer.step`` updates have been made."""

    def after_step(self, trainer: Trainer, step: Step) -> None:
        """An update has been made."""

    def after_failure(self, trainer: Trainer, failure: Failure) -> None:
        """An update was not finite, and the run goes on: without it, or from the checkpoint that it went back to."""

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

    def check_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise a UserError where it cannot go on from a saved state; nothing of the trainer has changed yet."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""


def keyed(own: Iterable[Callback], standard: Iterable[Callback]) -> dict[str, Callback]:
    """The callbacks by the names of their states; those that a trainer adds itself begin with ``flexit.``."""
    found: dict[str, Callback] = {}
    for prefix, callbacks in (("", own), ("flexit.", standard)):
        for each in callbacks:
            key, number = f"{prefix}{each.state_key}", 1
            while key in found:
                number += 1
                key = f"{prefix}{each.state_key}#{number}"
            found[key] = each
    return found


def state_of(callback: Callback, key: str) -> dict[str, Any]:
    """A callback's state, which a checkpoint can hold.

    Raises:
        UserError: FX1704, it is no JSON data.
    """
    state = callback.state_dict()
    try:
        json.dumps(state)
    except (TypeError, ValueError) as error:
        raise UserError.of(
            "FX1704", "the state of a callback cannot be saved", path=f"callbacks.{key}.state_dict",
            expected="JSON data", found=str(error),
            cure="give numbers, texts, lists and mappings alone, such as tensor.tolist()",
        ) from error  # fmt: skip
    return state
