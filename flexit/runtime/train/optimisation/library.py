"""Optimizers of the library pytorch_optimizer: found by name, and tried before a run depends on them."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from flexit.ir.wording import nearest
from flexit.runtime.train.optimisation import optimizer_state
from flexit.runtime.train.optimisation.optimizer import Misfit

TRIED_STEPS = 4
"""Updates before and after the state is put into another optimizer of the same kind."""


def of_library(name: str, groups: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """An optimizer of the library over parameter groups.

    Args:
        name: in the library.
        groups: as torch takes them.
        settings: its arguments.
    """
    import pytorch_optimizer

    given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytorch_optimizer.load_optimizer(name)([dict(group) for group in groups], **given)


def misfit(name: str, settings: Mapping[str, Any]) -> Misfit | None:
    """Why an optimizer of the library cannot be used: there is no library, none of this name, or it fails a trial."""
    try:
        import pytorch_optimizer
    except ImportError as error:
        return Misfit(
            "kind", "FX1521", "the library pytorch_optimizer is not there", "an environment that has it", str(error),
            "install it: pip install 'flexit-ml[train]'",
        )  # fmt: skip
    known = pytorch_optimizer.get_supported_optimizers()
    if name not in known:
        near = nearest(name, known)
        return Misfit(
            "name", "FX1521", "the library has no optimizer of this name", "one of pytorch_optimizer's own names",
            name or "an empty text", f"write {near}" if near else f"write one of {', '.join(known)}",
        )  # fmt: skip
    reason = _fails(name, settings)
    if reason is None:
        return None
    return Misfit(
        "name", "FX1521", "this optimizer cannot be used here",
        "one that takes these settings, steps by gradients alone and whose whole state can be saved", reason,
        "correct settings, or choose another, such as lion",
    )  # fmt: skip


def _fails(name: str, settings: Mapping[str, Any]) -> str | None:
    """What goes wrong with a few steps of a small model, the state put into a copy, and a few more; or None."""
    import pytorch_optimizer

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            known = list(inspect.signature(pytorch_optimizer.load_optimizer(name)).parameters)
            if strange := [key for key in settings if key not in known]:
                return f"an argument {strange[0]}, which is none of {', '.join(known[1:])}"
            first, second = (_Trial(name, settings) for _ in range(2))
            if hasattr(first.optimizer, "eval"):
                return "one that keeps other weights for evaluation than for training"
            first.steps()
            first.move_to(second)
            first.steps()
            second.steps()
        except Exception as error:  # a foreign library may raise anything
            return f"{type(error).__name__}: {error}".splitlines()[0]
    same = all(
        torch.equal(one, other)
        for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True)
    )  # fmt: skip
    return None if same else "one that goes on differently when its state was saved and read again"


class _Trial:
    """A small model under an optimizer of the library."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(6, 4)
        groups = [
            {"params": [self.model.weight], "weight_decay": 0.1},
            {"params": [self.model.bias], "weight_decay": 0.0},
        ]
        self.optimizer = of_library(name, groups, settings)

    def steps(self) -> None:
        """A few updates by gradients that are the same each time."""
        torch.manual_seed(1)
        for _ in range(TRIED_STEPS):
            for parameter in self.model.parameters():
                parameter.grad = torch.randn_like(parameter)
            self.optimizer.step()

    def move_to(self, other: _Trial) -> None:
        """Give weights and state to another."""
        tensors, data = optimizer_state.pack(self.optimizer, self.model)
        data = json.loads(json.dumps(data))
        tensors = {key: value.clone() for key, value in tensors.items()}
        other.model.load_state_dict(self.model.state_dict())
        optimizer_state.unpack(other.optimizer, other.model, tensors=tensors, data=data)
