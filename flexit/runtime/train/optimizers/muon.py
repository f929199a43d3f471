"""Muon for the matrices of layers, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from flexit.ir.language.kinds import PositiveFloat, PositiveInt
from flexit.runtime.train.fields import Decay, NotNegativeFloat
from flexit.runtime.train.optimisation.optimizer import Misfit, Moved, Optimizer, Together, two_moments

if TYPE_CHECKING:
    import torch

TABLES = frozenset({"embedding", "position", "token_type", "score_bias", "head", "gain", "bias"})
"""Roles of two-dimensional parameters that are no map from one width to another inside the model."""


class Muon(Optimizer, kind="muon"):
    """Muon (Jordan et al. 2024) for the matrices of layers, AdamW for tables, heads, vectors and stacked experts."""

    source = "Jordan et al. 2024, Muon; Liu et al. 2025, Muon is Scalable for LLM Training, equation 4"

    weight_decay: NotNegativeFloat = 0.1
    """Of matrices and tables; gains, biases and other vectors do not decay."""
    momentum: Decay = 0.95
    """Decay of the running mean of gradients that is made orthogonal."""
    nesterov: bool = True
    """Whether the gradient counts as if the momentum had been followed already."""
    ns_steps: PositiveInt = 5
    """Newton-Schulz iterations that make an update orthogonal."""
    scale: Literal["match_rms_adamw", "original"] = "match_rms_adamw"
    """What the learning rate of a matrix is multiplied with: so that updates are as large as those of AdamW
    (``0.2 sqrt(max(rows, columns))``), or as at first (``sqrt(max(1, rows / columns))``)."""
    betas: list[Decay] = Field(default_factory=lambda: [0.9, 0.95])
    """Decay of the two moments of AdamW."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator of AdamW."""

    def misfits(self) -> Iterator[Misfit]:
        yield from two_moments(self.betas)
        if self.nesterov and self.momentum == 0:
            yield Misfit(
                "momentum", "FX1520", "nesterov has no effect without momentum", "a momentum above 0", "momentum 0",
                "write momentum: 0.95, or nesterov: false",
            )  # fmt: skip

    def build(self, groups: Sequence[Together]) -> torch.optim.Optimizer:
        import torch

        from flexit.runtime.train.optimisation.joined import Joined

        matrices, rest = _split(groups, inside=True), _split(groups, inside=False)
        first, second = self.betas
        parts: list[torch.optim.Optimizer] = []
        if matrices:
            parts.append(torch.optim.Muon(
                matrices, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, ns_steps=self.ns_steps,
                adjust_lr_fn=self.scale,
            ))  # fmt: skip
        if rest:
            parts.append(torch.optim.AdamW(rest, lr=self.lr, betas=(first, second), eps=self.eps, fused=True))
        parts.sort(key=lambda part: part.param_groups[0]["lr"] != self.lr)  # the rate that is told is that of the first
        return Joined(parts)


def is_matrix_of_layer(moved: Moved) -> bool:
    """Whether a parameter maps one width to another in a layer of a stack."""
    inside = "layers" in moved.path.split(".")
    return inside and moved.parameter.dim() == 2 and moved.role not in TABLES


def _split(groups: Sequence[Together], *, inside: bool) -> list[dict[str, object]]:
    """The parameter groups of those that are matrices of layers, or of the others."""
    parts = (
        replace(group, moved=tuple(each for each in group.moved if is_matrix_of_layer(each) is inside))
        for group in groups
    )
    return [part.settings() for part in parts if part.moved]
