"""What moves the weights of a run: optimizer, schedule, scaler of fp16 and mean of the weights, with the state that
checkpoints keep of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.optimisation import optimizer_state
from flexit.runtime.train.resources.device import autocast, make_scaler, pick_device
from flexit.runtime.train.saving import checkpoint
from flexit.runtime.train.update.preparing import computing
from flexit.runtime.train.update.ranks import ALONE, Ranks
from flexit.runtime.train.update.shared import shared
from flexit.runtime.train.update.step import Batch, Clip, LossFn, NotFinite, Step, update


class Updater:
    """Makes updates.

    Attributes:
        settings: of each parameter group, as the optimizer was given.
        average: a copy of the model with the mean of its weights, if the config asks for one.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_fn: LossFn, *,
        config: TrainingConfig, ranks: Ranks = ALONE,
    ) -> None:  # fmt: skip
        """What the trainer has.

        Args:
            model: what is trained.
            optimizer: over its parameters.
            loss_fn: its loss.
            config: the rest.
            ranks: the processes that share updates.

        Raises:
            UserError: FX1702, the device has not the precision, or no compiler.
        """
        self._model, self._optimizer, self._loss_fn, self._config = model, optimizer, loss_fn, config
        self._device, self._ranks = pick_device(config.device), ranks
        self._compute = computing(config.compile, self._device)
        self._scaler = make_scaler(self._device, config.precision)
        self.autocast()
        self.settings = optimizer_state.settings(optimizer)
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._averaged: AveragedModel | None = None
        if config.ema is not None:
            self._averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema.decay))

    @property
    def average(self) -> nn.Module | None:
        """A copy of the model with the mean of its weights."""
        return None if self._averaged is None else self._averaged.module

    def autocast(self) -> Any:
        """The context of forwards."""
        return autocast(self._device, self._config.precision)

    def make(self, batches: Sequence[Batch], *, number: int, steps: int, stop: Callable[[], bool], place: str) -> Step:
        """One update: gradients of the mean loss over all tokens of the batches, the clips, the optimizer.

        Args:
            batches: the micro-batches.
            number: of the update, from 1.
            steps: of the run.
            stop: asked before each micro-batch.
            place: which batches they are, for messages.

        Raises:
            Stopped: ``stop`` said yes; nothing has moved.
            UserError: FX1605, no label counts; FX1701, a number is not finite; FX1704, the loss cannot be minimised;
                FX1712, the processes have different batches.
            ProcessEnded: another process has ended.
        """
        config, groups = self._config, self._optimizer.param_groups
        self._model.zero_grad(set_to_none=True)  # also of parameters that the optimizer does not move
        losses, tokens = shared(
            self._model, self._loss_fn, batches, ranks=self._ranks, autocast=self.autocast, scaler=self._scaler,
            stop=stop, place=place, seed=(config.seed, number), compute=self._compute,
        )  # fmt: skip
        scale = config.schedule.factor(number - 1, steps)
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate * scale
        norm = update(
            self._model, self._optimizer, losses=losses, clip=Clip(config.clip_norm, config.clip_value), number=number,
            scaler=self._scaler,
        )  # fmt: skip
        if self._averaged is not None and norm is not None:
            self._averaged.update_parameters(self._model)
        shapes = tuple({name: tuple(value.shape) for name, value in batch.items()} for batch in batches)
        return Step(number, losses, norm, tokens, groups[0]["lr"], shapes=shapes)

    def skipped(self, error: NotFinite, *, number: int) -> Step:
        """The step of an update that was left out."""
        return Step(number, error.losses, None, 0, self._optimizer.param_groups[0]["lr"], skipped=True)

    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors of the optimizer, and JSON data of all else but the mean of the weights."""
        tensors, settings = optimizer_state.pack(self._optimizer, self._model)
        data: dict[str, Any] = {"optimizer": settings, "rates": self._rates}
        if self._scaler is not None:
            data["scaler"] = self._scaler.state_dict()
        if self._averaged is not None:
            data["averaged"] = int(self._averaged.n_averaged)
        return tensors, data

    def require_fitting(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Raise unless a packed state can be put back.

        Raises:
            CheckpointError: FX1202, it is of another optimizer or other parameters.
        """
        optimizer_state.require_fitting(self._optimizer, self._model, tensors=tensors, data=state["optimizer"])

    def unpack(
        self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], average: Mapping[str, Tensor] | None
    ) -> None:
        """Put a packed state back, which fits, once the weights are there; settings that have changed stay changed.

        Args:
            tensors: of the optimizer.
            state: that of a checkpoint.
            average: the mean of the weights, if the checkpoint has it.
        """
        optimizer_state.unpack(self._optimizer, self._model, tensors=tensors, data=state["optimizer"])
        before = state["identity"]["optimizer"]["groups"]
        optimizer_state.keep_changed(self._optimizer, self.settings, before)
        self._rates = [
            saved if rate == before[str(number)]["lr"] else rate
            for number, (saved, rate) in enumerate(zip(state["rates"], self._rates, strict=True))
        ]
        if self._scaler is not None and "scaler" in state:
            self._scaler.load_state_dict(state["scaler"])
        if self._averaged is not None:
            checkpoint.copy_weights(average or checkpoint.weights_of(self._model), self._averaged.module)
            self._averaged.n_averaged.fill_(state.get("averaged", 0))
