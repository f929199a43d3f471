"""Optimizers from the run config, with decay by what a parameter is for."""

from __future__ import annotations

import torch
from torch import nn

from flexit.ir.program import Program
from flexit.runtime.train.optimizer import Moved, Optimizer, Together

UNDECAYED = frozenset({"gain", "bias", "sink", "layer_scale", "mix", "slope"})
"""Roles that weight decay leaves alone, besides vectors of any role."""


def make_optimizer(model: nn.Module, program: Program, config: Optimizer) -> torch.optim.Optimizer:
    """The optimizer of a run config over the parameters of a lowered model that a loss trains.

    Args:
        model: whose parameters bear IR paths.
        program: says what each is for.
        config: an optimizer of :mod:`flexit.runtime.train.optimizers`.
    """
    roles = {param.path: param.role for param in program.params()}
    decayed: list[Moved] = []
    others: list[Moved] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = roles[name] in UNDECAYED or parameter.dim() < 2
            (others if plain else decayed).append(Moved(name, roles[name], parameter))
    groups = [Together(tuple(decayed), config.lr, config.weight_decay), Together(tuple(others), config.lr, 0.0)]
    return config.build([group for group in groups if group.moved])
