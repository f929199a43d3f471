"""Callbacks by class, as FlexiTransformers had them: what happens at the end of each epoch of :mod:`flexit.train`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexit.class_style import refuse_unknown, refused, require_number
from flexit.errors import UserError
from flexit.runtime.train.callbacks.callback import Callback as _Callback

if TYPE_CHECKING:
    from flexit.runtime.train.trainer import Trainer as RunTrainer
    from flexit.train import Trainer

__all__ = ["Callback", "CheckpointCallback", "EarlyStoppingCallback"]


class Teller(_Callback):
    """Tells callbacks of this module what happens; a class-style trainer has one.

    Attributes:
        told: those that it tells.
    """

    told: Sequence[Callback] = ()


class Callback(_Callback):
    """Does nothing at every occasion; override what is needed.

    Beside the hooks here those of ``flexit.Trainer``'s callbacks may be overridden, which are given that trainer; but
    only :class:`flexit.train.Trainer` calls those here.
    """

    def start(self, trainer: RunTrainer) -> None:
        """The run begins or goes on.

        Raises:
            UserError: FX1704, the trainer does not call the hooks of this class.
        """
        tellers = [each for each in trainer.callbacks if isinstance(each, Teller)]
        if not any(each is self for teller in tellers for each in teller.told):
            raise UserError.of(
                "FX1704", "the trainer does not call this callback", path="callbacks",
                expected="callbacks of flexit.Trainer, which is told of steps", found=type(self).__name__,
                cure="use flexit.train.Trainer, which counts in epochs",
            )  # fmt: skip

    def on_train_begin(self, trainer: Trainer) -> None:
        """The run begins or goes on."""

    def on_epoch_begin(self, epoch: int, trainer: Trainer) -> None:
        """A pass over the training data begins; the first is 1."""

    def on_epoch_end(self, epoch: int, trainer: Trainer) -> None:
        """A pass is over, the held-out data was looked at, and ``trainer.metrics`` has both losses."""

    def on_train_end(self, trainer: Trainer) -> None:
        """The last epoch is done, or something stopped the run; not called after an error."""


class CheckpointCallback(Callback):
    """Saves a checkpoint after each epoch, in the run folder that the trainer then has.

    Attributes:
        checkpoint_dir: the run folder.
        keep_last: newest checkpoints that are kept.
        save_best: whether the one with the lowest held-out loss is kept besides.
    """

    def __init__(
        self, save_best: bool = True, keep_last: int = 3, checkpoint_dir: str | Path = "checkpoints", **unknown: Any
    ) -> None:
        """Where to save, and what to keep.

        Raises:
            UserError: a keyword is unknown (files have the names of a run folder), a value is wrong, or nothing would
                be kept.
        """
        refuse_unknown(unknown, ("save_best", "keep_last", "checkpoint_dir"))
        _require_kind("save_best", save_best, bool, expected="true or false")
        require_number("keep_last", keep_last, "at least 1", whole=True, least=1)
        _require_kind("checkpoint_dir", checkpoint_dir, str | Path, expected="the path of a folder")
        self.save_best = save_best
        self.keep_last = keep_last
        self.checkpoint_dir = Path(checkpoint_dir)


class EarlyStoppingCallback(Callback):
    """Stops the run when the held-out loss has not become lower for some epochs.

    Attributes:
        patience: how many epochs.
        min_delta: by how much it must become lower.
        best: the lowest held-out loss so far, if there was one.
        waited: epochs since then.
    """

    def __init__(self, patience: int = 5, min_delta: float = 0.0, **unknown: Any) -> None:
        """When to stop.

        Raises:
            UserError: a keyword is unknown or a value is wrong.
        """
        refuse_unknown(unknown, ("patience", "min_delta"))
        require_number("patience", patience, "at least 1", whole=True, least=1)
        require_number("min_delta", min_delta, "at least 0", least=0)
        self.patience = patience
        self.min_delta = min_delta
        self.best: float | None = None
        self.waited = 0

    def on_epoch_end(self, epoch: int, trainer: Trainer) -> None:
        del epoch
        loss = trainer.metrics.val_losses[-1]
        if not math.isnan(loss) and (self.best is None or loss < self.best - self.min_delta):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]


def _require_kind(name: str, value: object, kind: Any, *, expected: str) -> None:
    if not isinstance(value, kind):
        raise refused(
            name, f"{name} cannot be used", expected=expected, found=repr(value), cure=f"correct {name}"
        )  # fmt: skip
