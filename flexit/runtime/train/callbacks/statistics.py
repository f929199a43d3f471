"""``statistics.jsonl``: how large activations, gradients and updates are, by path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.callbacks.metrics import cut_back, finite
from flexit.runtime.train.saving.checkpoint import telling_what_is_left

if TYPE_CHECKING:
    from flexit.runtime.train.failures.mishaps import Failure
    from flexit.runtime.train.trainer import Trainer
    from flexit.runtime.train.update.step import Step

FILE = "statistics.jsonl"


@dataclass(slots=True)
class Sums:
    """Of numbers that come in pieces: their squares, how many, how many are zero, and the largest magnitude."""

    squares: float = 0.0
    count: int = 0
    zeros: int = 0
    largest: float = 0.0

    def add(self, values: Tensor) -> None:
        """Count more numbers."""
        wide = values.detach().float()
        self.squares += float(wide.square().sum(dtype=torch.float64))
        self.count += wide.numel()
        self.zeros += int((wide == 0).sum())
        self.largest = max(self.largest, float(wide.abs().max())) if wide.numel() else self.largest

    def told(self) -> dict[str, float | None]:
        """Root mean square, largest magnitude and share of zeros."""
        if not self.count:
            return {"rms": None, "max": None, "zeros": None}
        rms, zeros = (self.squares / self.count) ** 0.5, self.zeros / self.count
        return {"rms": finite(rms), "max": finite(self.largest), "zeros": zeros}


class Statistics(Callback):
    """Looks every ``every`` steps at results of each part of the model in the forwards, at the gradients as the
    optimizer gets them, and at how far the update moves each parameter.

    Hooks and a copy of the weights are there in these updates alone. They read and change nothing, so that the bits of
    the training are those without them.
    """

    def __init__(self, folder: Path, *, every: int) -> None:
        self.every = every
        self.file = folder / FILE
        self._hooks: list[Any] = []
        self._activations: dict[str, Sums] = {}
        self._before: dict[str, Tensor] = {}

    def start(self, trainer: Trainer) -> None:
        cut_back(self.file, trainer.step)
        self._prepare(trainer, trainer.step + 1)

    def after_failure(self, trainer: Trainer, failure: Failure) -> None:
        if failure.answer == "rollback":
            self._unhook()
            self.start(trainer)

    def after_step(self, trainer: Trainer, step: Step) -> None:
        if self._hooks:
            self._unhook()
            self._write(step, trainer.model)
        self._prepare(trainer, step.number + 1)

    def close(self, trainer: Trainer) -> None:
        del trainer
        self._unhook()
        self._before = {}

    def _prepare(self, trainer: Trainer, number: int) -> None:
        """Look at the update ``number``, if it is one to look at."""
        if number % self.every or number > trainer.steps:
            return
        self._activations = {}
        named = trainer.model.named_modules()
        self._hooks = [module.register_forward_hook(self._hook(path)) for path, module in named]
        with torch.no_grad():
            self._before = {
                name: each.detach().clone() for name, each in trainer.model.named_parameters() if each.requires_grad
            }

    def _hook(self, path: str) -> Any:
        def see(module: nn.Module, given: Any, results: Any) -> None:
            del given
            found = [value for value in _tensors(results) if value.is_floating_point()]
            if module.training and found:
                sums = self._activations.setdefault(path, Sums())
                for value in found:
                    sums.add(value)

        return see

    def _unhook(self) -> None:
        for each in self._hooks:
            each.remove()
        self._hooks = []

    def _write(self, step: Step, model: nn.Module) -> None:
        activations = {path: sums.told() for path, sums in self._activations.items()}
        parameters: dict[str, dict[str, float | None]] = {}
        for name, each in model.named_parameters():
            if each.grad is None or name not in self._before or step.grad_norm is None:  # fp16 that overflowed
                continue
            gradient, weight, moved = Sums(), Sums(), Sums()
            gradient.add(each.grad)
            weight.add(self._before[name])
            moved.add(each.detach() - self._before[name])
            of_weight = weight.told()["rms"]
            ratio = (moved.told()["rms"] or 0.0) / of_weight if of_weight else None
            told = {f"gradient_{key}": value for key, value in gradient.told().items()}
            parameters[name] = {**told, "weight_rms": of_weight, "update_ratio": finite(ratio)}
        self._before = {}
        line = {"step": step.number, "activations": activations, "parameters": parameters}
        with (
            telling_what_is_left(self.file.parent / "checkpoints", self.file),
            self.file.open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(line) + "\n")


def _tensors(results: Any) -> list[Tensor]:
    """The tensors among what a module gave."""
    if isinstance(results, Tensor):
        return [results]
    if isinstance(results, Mapping):
        results = list(results.values())
    return [value for each in results for value in _tensors(each)] if isinstance(results, list | tuple) else []
