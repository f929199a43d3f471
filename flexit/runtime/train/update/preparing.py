"""A model made ready for training as a config asks: layers computed again in backward, and compiled code."""

from __future__ import annotations

import torch
from torch import nn

from flexit.errors import UserError
from flexit.lower.torch.layers import layers_of, recompute
from flexit.runtime.train.config import TrainingConfig


def make_ready(model: nn.Module, config: TrainingConfig, device: torch.device) -> None:
    """Change in place how a model runs, not what it computes.

    Raises:
        UserError: FX1702, there is no compiler for the device; FX1704, the model has no layers of flexit.
    """
    if config.recompute:
        _require(recompute(model), "recompute")
    if config.compile is None:
        return
    require_compiler(device)
    if config.compile == "whole":
        model.compile()
        return
    layers = layers_of(model)
    _require(len(layers), "compile")
    for layer in layers.values():
        layer.compile()


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
