"""Training by class, as FlexiTransformers had it: a trainer that counts in epochs, and batches of sources and targets.

It is ``flexit.Trainer`` that runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from flexit.batch import Batch
from flexit.callbacks import Callback, CheckpointCallback, EarlyStoppingCallback, Teller
from flexit.class_saved import CONFIG, config_json
from flexit.class_style import refuse_unknown
from flexit.errors import CheckpointError, UserError
from flexit.loss import LossCompute
from flexit.models import BaseModel, Generator
from flexit.runtime.train.arguments import (
    article,
    batches_per_pass,
    require_callbacks,
    require_parts,
    require_passes,
    settings_of,
)
from flexit.runtime.train.callbacks.callback import Callback as RunCallback
from flexit.runtime.train.config import Checkpoint, Evaluate, TrainingConfig
from flexit.runtime.train.resources.launch import require_alone
from flexit.runtime.train.trainer import Loader, Result
from flexit.runtime.train.trainer import Trainer as RunTrainer
from flexit.runtime.train.update.step import LossFn, Step

__all__ = ["Batch", "Trainer", "TrainerMetrics"]


@dataclass
class TrainerMetrics:
    """What came of each epoch.

    Attributes:
        epochs: their numbers, from 1.
        train_losses: mean over the labels that were learned from; nan where all updates were left out.
        val_losses: mean over the held-out labels; empty without any.
        train_times: seconds, evaluation included.
        learning_rates: of the first parameter group, at the end.
    """

    epochs: list[int] = field(default_factory=list[int])
    train_losses: list[float] = field(default_factory=list[float])
    val_losses: list[float] = field(default_factory=list[float])
    train_times: list[float] = field(default_factory=list[float])
    learning_rates: list[float] = field(default_factory=list[float])

    def to_dict(self) -> dict[str, list[float]]:
        """The lists by name."""
        return asdict(self)


class _Epochs(Teller):
    """Counts passes, keeps their metrics, and tells the callbacks of the class-style trainer."""

    def __init__(self, trainer: Trainer, told: Sequence[Callback], *, batches: int, accumulate: int) -> None:
        self.trainer = trainer
        self.told = told
        self.epoch = {"batches": batches, "accumulate": accumulate}
        self.steps = -(-batches // accumulate)
        self.loss, self.tokens, self.seconds = 0.0, 0, 0.0
        self._since = 0.0
        self._validation: float | None = None

    def start(self, trainer: RunTrainer) -> None:
        self._since, self._validation = time.perf_counter(), None
        for each in self.told:
            each.on_train_begin(self.trainer)
        if trainer.step < trainer.steps and trainer.step % self.steps == 0:
            self._begin(trainer.step)

    def after_evaluation(self, trainer: RunTrainer, metrics: Mapping[str, float]) -> None:
        del metrics
        self._validation = trainer.validation_loss

    def after_step(self, trainer: RunTrainer, step: Step) -> None:
        self.loss += 0.0 if step.skipped else step.loss * step.tokens
        self.tokens += step.tokens
        if step.number % self.steps:
            return
        epoch, metrics, now = step.number // self.steps, self.trainer.metrics, time.perf_counter()
        metrics.epochs.append(epoch)
        metrics.train_losses.append(self.loss / self.tokens if self.tokens else math.nan)
        if self._validation is not None:
            metrics.val_losses.append(self._validation)
        metrics.train_times.append(self.seconds + now - self._since)
        metrics.learning_rates.append(step.lr)
        self.loss, self.tokens, self.seconds, self._since = 0.0, 0, 0.0, now
        for each in self.told:
            each.on_epoch_end(epoch, self.trainer)
        if trainer.step < trainer.steps:
            self._begin(trainer.step)

    def _begin(self, step: int) -> None:
        for each in self.told:
            each.on_epoch_begin(step // self.steps + 1, self.trainer)

    def end(self, trainer: RunTrainer) -> None:
        del trainer
        self.seconds += time.perf_counter() - self._since
        for each in self.told:
            each.on_train_end(self.trainer)

    def state_dict(self) -> dict[str, Any]:
        sums = {"loss": self.loss, "tokens": self.tokens, "seconds": self.seconds}
        return {"metrics": self.trainer.metrics.to_dict(), "epoch": self.epoch, **sums}

    def check_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["epoch"] != self.epoch:
            raise CheckpointError.of(
                "FX1202", "an epoch is another one than before", path="train_dataloader",
                expected=_epoch(**state["epoch"]), found=_epoch(**self.epoch),
                cure="give the loader of the run, or begin a new run in another folder; flexit.Trainer counts in steps",
            )  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.trainer.metrics = TrainerMetrics(**state["metrics"])
        self.loss, self.tokens, self.seconds = state["loss"], state["tokens"], state["seconds"]


def _epoch(batches: int, accumulate: int) -> str:
    return f"{batches} batches, {accumulate} for each update"


class Trainer:
    """Trains a model for epochs, with a look at held-out data after each.

    Attributes:
        trainer: the ``flexit.Trainer`` that runs.
        metrics: of all epochs so far.
        result: how the last call of :meth:`fit` ended.
    """

    def __init__(  # noqa: PLR0917 (the order of flexit.Trainer)
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_fn: LossFn, train_dataloader: Loader,
        val_dataloader: Loader | None = None, callbacks: Sequence[RunCallback] = (),
        config: TrainingConfig | Mapping[str, Any] | None = None, **unknown: Any,
    ) -> None:  # fmt: skip
        """A trainer; nothing runs yet.

        Args:
            model: what to train.
            optimizer: over its parameters.
            loss_fn: a :class:`~flexit.loss.LossCompute`, or what ``flexit.Trainer`` takes.
            train_dataloader: batches (:class:`Batch`, or mappings), with a length.
            val_dataloader: held-out batches.
            callbacks: of :mod:`flexit.callbacks` or of ``flexit.Trainer``.
            config: the rest, as ``flexit.Trainer`` takes it, but for what follows from the other arguments: when to
                evaluate, and from a ``CheckpointCallback`` the folder and when to save.
            unknown: other keywords, which are refused.

        Raises:
            UserError: an argument cannot be used, or a keyword is unknown.
        """
        known = ("model", "optimizer", "loss_fn", "train_dataloader", "val_dataloader", "callbacks", "config")
        refuse_unknown(unknown, known)
        held_out = {} if val_dataloader is None else {"val_dataloader": val_dataloader}
        loaders = {"train_dataloader": train_dataloader, **held_out}
        require_parts(model=model, optimizer=optimizer, loss_fn=loss_fn, loaders=loaders)
        _require_own(loss_fn, model)
        _require_length(train_dataloader)
        own = require_callbacks(callbacks)
        told = [each for each in own if isinstance(each, Callback)]
        config = settings_of(config)
        size = config.accumulate
        count = require_passes(train_dataloader, accumulate=size)
        if val_dataloader is None and any(isinstance(each, EarlyStoppingCallback) for each in own):
            raise UserError.of(
                "FX1505", "there is nothing to stop by", path="val_dataloader", expected="held-out batches",
                found="an EarlyStoppingCallback without any", cure="give a val_dataloader, or leave the callback out",
            )  # fmt: skip
        require_alone("flexit.train.Trainer")
        self.metrics = TrainerMetrics()
        self.result: Result | None = None
        epochs = _Epochs(self, told, batches=count, accumulate=size)
        self.trainer = RunTrainer(
            model, optimizer, loss_fn, train_dataloader, val_dataloader,
            callbacks=[epochs, *own],
            config=_with_epochs(config, own, steps=epochs.steps, evaluated=val_dataloader is not None),
        )  # fmt: skip
        if isinstance(model, BaseModel):
            self.trainer.extras[CONFIG] = config_json(model.config)

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        return self.trainer.model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What moves its parameters."""
        return self.trainer.optimizer

    def fit(self, epochs: int) -> TrainerMetrics:
        """Train for passes over the training data, those of earlier calls and of a resumed run included.

        Returns:
            The metrics of all epochs so far.

        Raises:
            UserError: as ``flexit.Trainer.fit``.
        """
        self.result = self.trainer.fit(epochs=epochs)
        return self.metrics

    def stop(self) -> None:
        """End the run after the update at hand; for callbacks."""
        self.trainer.steps = self.trainer.step

    def evaluate(self) -> float:
        """The loss over the held-out batches.

        Raises:
            UserError: there are none.
        """
        self.trainer.evaluate()
        loss = self.trainer.validation_loss
        assert loss is not None
        return loss

    def resume(self, *, allow_changed: bool = False) -> list[CheckpointError]:
        """Go on from the newest whole checkpoint of the folder, as ``flexit.Trainer.resume``.

        Raises:
            CheckpointError: as there; FX1202 also, whatever is allowed, where epochs are of other batches or updates.
        """
        return self.trainer.resume(allow_changed=allow_changed)


def _require_own(loss_fn: object, model: nn.Module) -> None:
    """A loss takes the scores of the model that is trained, so the generator of another would say what is not so."""
    generator = loss_fn.generator if isinstance(loss_fn, LossCompute) else None
    if isinstance(generator, Generator) and not any(part is generator.model for part in model.modules()):
        raise UserError.of(
            "FX1704", "the loss is of another model", path="loss_fn.generator", expected="the generator of the model",
            found=f"that of another {type(generator.model).__name__}", cure="write LossCompute(model.generator, ...)",
        )  # fmt: skip


def _require_length(loader: Loader) -> None:
    if isinstance(loader, Iterator) or batches_per_pass(loader) is None:
        raise UserError.of(
            "FX1704", "the trainer cannot do this", path="train_dataloader", found=article(loader),
            expected="a loader with a length, that can be gone through again for each epoch",
            cure="give a list of batches or a DataLoader, or use flexit.Trainer, which counts in steps, too",
        )  # fmt: skip


def _with_epochs(
    config: TrainingConfig, callbacks: Sequence[RunCallback], *, steps: int, evaluated: bool
) -> TrainingConfig:
    """The config of a run of epochs of so many steps."""
    saving = [each for each in callbacks if isinstance(each, CheckpointCallback)]
    changes: dict[str, Any] = {}
    if config.evaluate is not None:
        raise _twice("config.evaluate", "held-out data is looked at after each epoch, where there is any")
    if evaluated:
        changes["evaluate"] = Evaluate(every=steps)
    if len(saving) > 1:
        raise _twice("callbacks", "one CheckpointCallback at most, since a run has one folder")
    if saving:
        if config.out is not None or "checkpoint" in config.model_fields_set:
            raise _twice("config", "out and checkpoint left to the CheckpointCallback")
        (each,) = saving
        best = 1 if each.save_best and evaluated else 0
        changes["out"] = str(each.checkpoint_dir)
        changes["checkpoint"] = Checkpoint(every=steps, keep_last=each.keep_last, keep_best=best)
    return config.model_copy(update=changes)


def _twice(path: str, expected: str) -> UserError:
    return UserError.of(
        "FX1704", "the trainer is told twice", path=path, expected=expected, found="another word on it",
        cure="leave it out",
    )  # fmt: skip
