"""The state of any torch optimizer as tensors under parameter names, and plain data for the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flexit.errors import CheckpointError


def pack(optimizer: torch.optim.Optimizer, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by ``<slot>/<parameter>`` and JSON data: numbers in the state, and the settings of each group."""
    names = _names(optimizer, model)
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            key = f"{slot}/{names[id(parameter)]}"
            if isinstance(value, Tensor):
                tensors[key] = value
            else:
                numbers[key] = value
    return tensors, {"class": type(optimizer).__name__, "numbers": numbers, "groups": settings(optimizer)}


def settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """The settings of each parameter group."""
    return [
        {key: value for key, value in group.items() if key != "params" and not isinstance(value, Tensor)}
        for group in optimizer.param_groups
    ]


def plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value, default=str))


def keep_changed(
    optimizer: torch.optim.Optimizer, wanted: Sequence[Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]
) -> None:
    """Set what differs from the settings that a run began with; the others stay as the checkpoint has them."""
    for number, (group, settings_) in enumerate(zip(optimizer.param_groups, wanted, strict=True)):
        was = before[str(number)]
        group |= {key: value for key, value in settings_.items() if plain(value) != was.get(key)}


def require_fitting(
    optimizer: torch.optim.Optimizer, model: nn.Module, *, tensors: Mapping[str, Tensor], data: Mapping[str, Any]
) -> None:
    """Raise unless a packed state can be put back.

    Raises:
        CheckpointError: FX1202, it is of another optimizer or other parameters.
    """
    names = _names(optimizer, model)
    known = set(names.values())
    packed = {key.partition("/")[2] for key in (*tensors, *data["numbers"])}
    if (
        data["class"] != type(optimizer).__name__
        or not packed <= known
        or len(data["groups"]) != len(optimizer.param_groups)
    ):
        raise CheckpointError.of(
            "FX1202", "the checkpoint is of another optimizer",
            expected=f"{type(optimizer).__name__} over {len(known)} parameters",
            found=f"{data['class']} over {len(packed)} parameters",
            cure="train with the optimizer of the checkpoint, or anew",
        )  # fmt: skip


def unpack(
    optimizer: torch.optim.Optimizer, model: nn.Module, *, tensors: Mapping[str, Tensor], data: Mapping[str, Any]
) -> None:
    """Put a packed state back, which fits."""
    names = _names(optimizer, model)
    by_name: dict[str, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *data["numbers"].items()):
        slot, _, name = key.partition("/")
        by_name.setdefault(name, {})[slot] = value
    index = {id(p): i for i, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    state = {index[ident]: by_name[name] for ident, name in names.items() if name in by_name}
    groups: list[dict[str, Any]] = []
    for current, saved in zip(optimizer.param_groups, data["groups"], strict=True):
        kept = {key: tuple(value) if isinstance(current.get(key), tuple) else value for key, value in saved.items()}
        groups.append({**kept, "params": [index[id(parameter)] for parameter in current["params"]]})
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _names(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[int, str]:
    """Identity of each optimised parameter -> its name in the model, or its place where the model does not hold it."""
    of_model = {id(parameter): name for name, parameter in model.named_parameters()}
    optimised = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {id(parameter): of_model.get(id(parameter), f"#{i}") for i, parameter in enumerate(optimised)}
