"""Ends a run whose held-out data has not been told better for some time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flexit.runtime.metric import LOSS
from flexit.runtime.train.callbacks.callback import Callback

if TYPE_CHECKING:
    from flexit.runtime.train.trainer import Trainer


class EarlyStopper(Callback):
    """Stops after ``patience`` evaluations in a row that were not better than the best by more than ``min_delta``.

    Attributes:
        best: the best score so far, lower being better, if there was one.
        waited: evaluations since then.
    """

    def __init__(self, *, patience: int, min_delta: float = 0.0, metric: str = LOSS) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self.metric = metric
        self.best: float | None = None
        self.waited = 0
        self._runs = False

    def start(self, trainer: Trainer) -> None:
        trainer.judge.require_known("early_stopping.metric", self.metric)
        self._runs = True
        self._stop(trainer)

    def close(self, trainer: Trainer) -> None:
        del trainer
        self._runs = False

    def after_evaluation(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        if not self._runs:  # a look between two runs is none of theirs
            return
        loss = trainer.validation_loss
        assert loss is not None
        told = {name.removeprefix("validation_"): value for name, value in metrics.items()}
        score = trainer.judge.score(self.metric, loss, told)
        if score == score and (self.best is None or score < self.best - self.min_delta):  # noqa: PLR0124 (nan is not)
            self.best, self.waited = score, 0
        else:
            self.waited += 1
        self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if self.waited >= self.patience:
            trainer.stop()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]
