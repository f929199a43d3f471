"""A model made ready for training as a config asks: layers computed again in backward, and compiled code."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from flexit.errors import UserError
from flexit.ir.program import Program
from flexit.lower.torch.layers import layers_of, recompute
from flexit.runtime.train.config import Compile, TrainingConfig
from flexit.runtime.train.update.labels import IGNORED
from flexit.runtime.train.update.loss import CrossEntropy, beyond
from flexit.runtime.train.update.step import Batch, Compute, LossFn, computed, inputs_of


def make_ready(model: nn.Module, config: TrainingConfig) -> None:
    """Change in place how a model runs, not what it computes.

    Raises:
        UserError: FX1704, the model has no layers of flexit.
    """
    if config.recompute:
        _require(recompute(model), "recompute")
    if config.compile is None:
        return
    if config.compile == "whole":
        model.compile()
        return
    layers = layers_of(model)
    _require(len(layers), "compile")
    for layer in layers.values():
        layer.compile()


def computing(pieces: Compile | None, device: torch.device) -> Compute:
    """What runs a model and its loss in training. Compiled, the cross-entropy and its backward go over the logits less
    often, and in one piece with the model they keep less of them. Losses of the user's own run as they are written.

    Args:
        pieces: as the config says; what it asks for of the model itself, :func:`make_ready` does.
        device: that runs it.

    Raises:
        UserError: FX1702, there is no compiler for the device.
    """
    if pieces is None:
        return computed
    require_compiler(device)
    of_all, of_outputs = torch.compile(computed), torch.compile(_loss_of)

    def compiled(model: nn.Module, loss_fn: LossFn, batch: Batch) -> Any:
        classes = _classes_of(model)
        if classes is None or not isinstance(loss_fn, CrossEntropy):
            return computed(model, loss_fn, batch)
        _require_among(classes, batch.get("labels"))
        if pieces == "whole":
            return of_all(model, loss_fn, batch)
        return of_outputs(loss_fn, model(**inputs_of(batch, loss_fn)), batch)

    return compiled


def _classes_of(model: nn.Module) -> int | None:
    """How many classes a model scores, where its program says so."""
    program = getattr(model, "program", None)
    if not isinstance(program, Program) or "logits" not in program.outputs:
        return None
    classes = program.outputs["logits"].dims[-1]
    return classes if isinstance(classes, int) else None


def _require_among(classes: int, labels: object) -> None:
    """Raise where labels are none of the classes: compiled code would end the process, where it runs on threads.

    Raises:
        UserError: FX1704.
    """
    if not isinstance(labels, torch.Tensor) or not labels.numel():
        return
    least, most = labels.where(labels != IGNORED, 0).aminmax()
    if int(least) < 0 or int(most) >= classes:
        raise beyond(labels, classes)


def _loss_of(loss_fn: LossFn, outputs: Any, batch: Batch) -> Any:
    return loss_fn(outputs, batch)


def require_compiler(device: torch.device) -> None:
    """Raise where PyTorch cannot compile for a device.

    Raises:
        UserError: FX1702.
    """

    def probe(x: torch.Tensor) -> torch.Tensor:
        return x.sin() + 1

    try:
        torch.compile(probe)(torch.ones(8, device=device))
    except Exception as error:  # whatever the compiler behind torch raises
        raise UserError.of(
            "FX1702", "this machine cannot compile", path="compile", expected="a compiler that torch.compile finds",
            found=f"{type(error).__name__}: {error}".splitlines()[0],
            cure="install a C++ compiler, such as g++, or delete compile",
        ) from error  # fmt: skip


def _require(count: int, field: str) -> None:
    if count == 0:
        raise UserError.of(
            "FX1704", "the model has no layers of a stack", path=f"config.{field}",
            expected="a model of flexit.to_torch with a stack", found="none", cure=f"leave {field} out",
        )  # fmt: skip
