"""What an optimizer of the run config is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from flexit.ir.language.kinds import Kind, PositiveFloat
from flexit.runtime.train.fields import NotNegativeFloat
from flexit.runtime.train.optimisation.groups import ParameterGroup

if TYPE_CHECKING:
    import torch
    from torch import nn


class Misfit(NamedTuple):
    """What is wrong with a field that is right by itself.

    Attributes:
        field: its name in the kind.
        code: of the problem.
        message: what is wrong.
        expected: what would be right.
        found: what is there.
        cure: what to do.
    """

    field: str
    code: str
    message: str
    expected: str
    found: str
    cure: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A parameter that an optimizer moves.

    Attributes:
        path: its name in the model.
        role: what it is for, as in the program; empty where nothing says.
        parameter: itself.
    """

    path: str
    role: str
    parameter: nn.Parameter


@dataclass(frozen=True, slots=True)
class Together:
    """Parameters that are moved alike.

    Attributes:
        moved: the parameters, in the order of the model.
        lr: their learning rate, which the schedule scales.
        weight_decay: their decay.
    """

    moved: tuple[Moved, ...]
    lr: float
    weight_decay: float

    def settings(self) -> dict[str, Any]:
        """As a parameter group of torch."""
        return {
            "params": [each.parameter for each in self.moved], "lr": self.lr, "weight_decay": self.weight_decay
        }  # fmt: skip


class Optimizer(Kind, family="Optimizer", package="flexit.runtime.train.optimizers"):
    """How gradients become updates."""

    lr: PositiveFloat = 1e-3
    """Learning rate, times the schedule's factor."""
    weight_decay: NotNegativeFloat = 0.0
    """Of matrices and tables, as in AdamW; gains, biases and other vectors do not decay."""
    groups: list[ParameterGroup] = Field(default_factory=list[ParameterGroup])
    """Parameters with a learning rate and decay of their own; the first entry that means one counts."""

    @property
    def moments(self) -> int:
        """How many numbers it keeps of each parameter, at most."""
        return 2

    def misfits(self) -> Iterator[Misfit]:
        """What is wrong with fields that are right by themselves."""
        yield from ()

    def build(self, groups: Sequence[Together]) -> torch.optim.Optimizer:
        """The optimizer over parameters, each in one group.

        Raises:
            UserError: FX1521, it cannot be used here.
        """
        raise NotImplementedError


def two_moments(betas: Sequence[float]) -> Iterator[Misfit]:
    """FX1506, unless the decays are those of two moments."""
    if len(betas) != 2:
        yield Misfit(
            "betas", "FX1506", "not two numbers", "the decay of the first and the second moment",
            f"{len(betas)} numbers", "write betas: [0.9, 0.95]",
        )  # fmt: skip
