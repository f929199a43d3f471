"""Callbacks by class, as FlexiTransformers had them: what happens at the end of each epoch of :mod:`flexit.train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flexit.class_style import refuse_unknown, refused
from flexit.runtime.train.callbacks.callback import Callback as _Callback

if TYPE_CHECKING:
    from flexit.train import Trainer

__all__ = ["Callback", "CheckpointCallback", "EarlyStoppingCallback"]


class Callback(_Callback):
    """Does nothing at every occasion; override what is needed.

    Beside the hooks here those of ``flexit.Trainer``'s callbacks may be overridden, which are given that trainer.
    """

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
            UserError: a keyword is unknown (files have the names of a run folder), or nothing would be kept.
        """
        refuse_unknown(unknown, ("save_best", "keep_last", "checkpoint_dir"))
        _require_least("keep_last", keep_last, 1)
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
        _require_least("patience", patience, 1)
        _require_least("min_delta", min_delta, 0)
        self.patience = patience
        self.min_delta = min_delta
        self.best: float | None = None
        self.waited = 0

    def on_epoch_end(self, epoch: int, trainer: Trainer) -> None:
        del epoch
        loss = trainer.metrics.val_losses[-1]
        if self.best is None or loss < self.best - self.min_delta:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]


def _require_least(name: str, value: float, least: int) -> None:
    if not isinstance(cast("object", value), int | float) or value < least:
        raise refused(
            name, f"{name} is out of range", expected=f"a number, at least {least}", found=repr(value),
            cure=f"correct {name}",
        )  # fmt: skip
