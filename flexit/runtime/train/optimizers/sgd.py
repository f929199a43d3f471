"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from flexit.runtime.train.fields import Decay
from flexit.runtime.train.optimisation.optimizer import Misfit, Optimizer, Together

if TYPE_CHECKING:
    import torch


class Sgd(Optimizer, kind="sgd"):
    """Gradient descent, with momentum if wanted; its decay is an L2 term of the gradient."""

    source = "Sutskever et al. 2013, On the importance of initialization and momentum in deep learning"

    momentum: Decay = 0.0
    """Decay of the running sum of gradients that is followed in their place; 0 follows the gradient itself."""
    nesterov: bool = False
    """Whether the gradient counts as if the momentum had been followed already."""

    @property
    def moments(self) -> int:
        return 1 if self.momentum else 0

    def misfits(self) -> Iterator[Misfit]:
        if self.nesterov and self.momentum == 0:
            yield Misfit(
                "nesterov", "FX1520", "has no effect without momentum", "a momentum above 0", "momentum 0",
                "write momentum: 0.9, or delete nesterov",
            )  # fmt: skip

    def build(self, groups: Sequence[Together]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(
            [group.settings() for group in groups], lr=self.lr, momentum=self.momentum, nesterov=self.nesterov,
            fused=True,
        )  # fmt: skip
