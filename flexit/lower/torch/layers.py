"""The layers of the stacks of a model: computed again in backward, or compiled one by one."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from flexit.lower.torch.regions import RegionModule

_LAYER = re.compile(r"(.*\.)?layers\.\d+")


def layers_of(model: nn.Module) -> dict[str, RegionModule]:
    """The layers of the outermost stacks by path, in order."""
    found: dict[str, RegionModule] = {}
    for path, module in model.named_modules():
        inner = any(path.startswith(f"{outer}.") for outer in found)
        if isinstance(module, RegionModule) and _LAYER.fullmatch(path) and not inner:
            found[path] = module
    return found


class Recomputed:
    """A layer of which autograd keeps the inputs alone: backward computes the rest again (Chen et al. 2016)."""

    def __call__(self, *args: Any) -> Any:
        run: Any = super().__call__  # pyright: ignore[reportAttributeAccessIssue]
        return checkpoint(run, *args, use_reentrant=False) if torch.is_grad_enabled() else run(*args)


def recompute(model: nn.Module) -> int:
    """Let every layer be computed again in backward; gradients are the same bits, with dropout too.

    Returns:
        How many layers there are.
    """
    layers = layers_of(model)
    for layer in layers.values():
        if not isinstance(layer, Recomputed):
            own = type(layer)
            layer.__class__ = type(own.__name__, (Recomputed, own), {})
    return len(layers)
