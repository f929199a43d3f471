"""Optimizers of the library pytorch_optimizer, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from flexit.runtime.train.optimisation.optimizer import Misfit, Optimizer, Together

if TYPE_CHECKING:
    import torch


class PytorchOptimizer(Optimizer, kind="pytorch_optimizer"):
    """Any optimizer of the library pytorch_optimizer (the extra ``train``) that steps by gradients alone."""

    examples: ClassVar = ({"name": "lion"},)
    source = "pytorch_optimizer, https://pytorch-optimizers.readthedocs.io"

    name: str
    """Its name there, such as ``lion``, ``soap`` or ``ademamix``."""
    settings: dict[str, bool | int | float | str | list[float]] = Field(
        default_factory=dict[str, "bool | int | float | str | list[float]"]
    )
    """Further arguments of it by name, beside ``lr`` and ``weight_decay``."""

    def misfits(self) -> Iterator[Misfit]:
        from flexit.runtime.train.optimisation.library import misfit

        found = misfit(self.name, {"lr": self.lr, **self.settings})
        if found is not None:
            yield found

    def build(self, groups: Sequence[Together]) -> torch.optim.Optimizer:
        from flexit.runtime.train.optimisation.library import of_library

        return of_library(self.name, [group.settings() for group in groups], {"lr": self.lr, **self.settings})
