"""Optimizers from the run config, with learning rate and decay by what a parameter is for."""

from __future__ import annotations

import torch
from torch import nn

from flexit.ir.program import Program
from flexit.runtime.train.optimisation.groups import entry_of
from flexit.runtime.train.optimisation.optimizer import Moved, Optimizer, Together

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
    found: dict[tuple[int, bool], list[Moved]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            entry = entry_of(config.groups, name, roles[name])
            plain = roles[name] in UNDECAYED or parameter.dim() < 2
            key = (-1 if entry is None else entry, plain)
            found.setdefault(key, []).append(Moved(name, roles[name], parameter))
    return config.build([_together(config, key, tuple(found[key])) for key in sorted(found)])


def _together(config: Optimizer, key: tuple[int, bool], moved: tuple[Moved, ...]) -> Together:
    """The parameters that one entry means, or none (-1): matrices and tables, or what is left undecayed."""
    entry, plain = key
    decay = 0.0 if plain else config.weight_decay
    if entry < 0:
        return Together(moved, config.lr, decay)
    group = config.groups[entry]
    own = decay if group.weight_decay is None else group.weight_decay
    return Together(moved, config.lr * group.lr_factor, own)
