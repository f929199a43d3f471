"""Adafactor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from flexit.ir.language.kinds import INFERRED, PositiveFloat
from flexit.runtime.train.optimisation.optimizer import Optimizer, Together

if TYPE_CHECKING:
    import torch


class Adafactor(Optimizer, kind="adafactor"):
    """Adafactor (Shazeer and Stern 2018): of a matrix it keeps row and column means of the squares, no moments."""

    source = "Shazeer and Stern 2018, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, algorithms 4 to 6"

    lr: PositiveFloat = 1e-2
    """Largest step relative to the root mean square of a parameter, times the schedule's factor; in update ``t`` it is
    at most ``1 / sqrt(t)``."""
    beta2_decay: Annotated[float, Field(lt=0, allow_inf_nan=False)] = -0.8
    """Power ``c`` of the update ``t`` in the decay of the squares, ``1 - t^c``."""
    eps1: Annotated[Annotated[float, Field(ge=1e-18, allow_inf_nan=False)] | None, INFERRED] = None
    """Smallest number that a gradient is divided by; inferred: the spacing of fp32 at 1."""
    eps2: PositiveFloat = 1e-3
    """Smallest root mean square that a parameter is taken to have."""
    clip_threshold: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    """Largest root mean square of an update, before the learning rate."""

    @property
    def moments(self) -> int:
        return 0

    def build(self, groups: Sequence[Together]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adafactor(
            [group.settings() for group in groups], lr=self.lr, beta2_decay=self.beta2_decay,
            eps=(self.eps1, self.eps2), d=self.clip_threshold,
        )  # fmt: skip
