"""Optimizers from the run config, with decay by what a parameter is for."""

from __future__ import annotations

import torch
from torch import nn

from flexit.ir.program import Program
from flexit.runtime.train.config import AdamW, Optimizer

UNDECAYED = frozenset({"gain", "bias", "sink", "layer_scale", "mix", "slope"})
"""Roles that weight decay leaves alone, besides vectors of any role."""


def make_optimizer(model: nn.Module, program: Program, config: Optimizer) -> torch.optim.Optimizer:
    """The optimizer of a run config over the parameters of a lowered model that a loss trains.

    Args:
        model: whose parameters bear IR paths.
        program: says what each is for.
        config: an optimizer of :mod:`flexit.runtime.train.config`.
    """
    assert isinstance(config, AdamW)
    roles = {param.path: param.role for param in program.params()}
    decayed, others = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = roles[name] in UNDECAYED or parameter.dim() < 2
        (others if plain else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    first, second = config.betas
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.lr, betas=(first, second), eps=config.eps, fused=True
    )
