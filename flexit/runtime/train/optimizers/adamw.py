"""AdamW."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from flexit.ir.language.kinds import PositiveFloat
from flexit.runtime.train.fields import Decay, NotNegativeFloat
from flexit.runtime.train.optimisation.optimizer import Misfit, Optimizer, Together, two_moments

if TYPE_CHECKING:
    import torch


class AdamW(Optimizer, kind="adamw"):
    """AdamW (Loshchilov and Hutter 2019), one fused kernel."""

    usual = True
    source = "Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2"

    weight_decay: NotNegativeFloat = 0.1
    """Of matrices and tables; gains, biases and other vectors do not decay."""
    betas: list[Decay] = Field(default_factory=lambda: [0.9, 0.95])
    """Decay of the two moments."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""

    def misfits(self) -> Iterator[Misfit]:
        yield from two_moments(self.betas)

    def build(self, groups: Sequence[Together]) -> torch.optim.Optimizer:
        import torch

        first, second = self.betas
        return torch.optim.AdamW(
            [group.settings() for group in groups], lr=self.lr, betas=(first, second), eps=self.eps, fused=True
        )  # fmt: skip
