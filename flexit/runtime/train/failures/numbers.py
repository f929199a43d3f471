"""What the numbers of a tensor are like: how many are finite, between which bounds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Numbers:
    """Figures of a tensor.

    Attributes:
        shape: of it.
        nan: numbers that are none.
        infinite: numbers that are infinite.
        lowest: of the finite numbers; None where there are none.
        highest: of the finite numbers.
        rms: root of the mean square of the finite numbers.
    """

    shape: tuple[int, ...]
    nan: int
    infinite: int
    lowest: float | None
    highest: float | None
    rms: float | None

    @property
    def bad(self) -> int:
        """Numbers that are not finite."""
        return self.nan + self.infinite

    @property
    def count(self) -> int:
        """Numbers in all."""
        return torch.Size(self.shape).numel()

    def data(self) -> dict[str, Any]:
        """The figures as JSON data."""
        return asdict(self) | {"shape": list(self.shape)}

    def __str__(self) -> str:
        bounds = "none finite" if self.lowest is None else f"the others from {self.lowest:.3g} to {self.highest:.3g}"
        kinds = f"{self.nan:,} nan, {self.infinite:,} infinite"
        return f"{self.bad:,} of {self.count:,} numbers {list(self.shape)} not finite: {kinds}; {bounds}"


def numbers_of(tensor: Tensor) -> Numbers:
    """The figures of a tensor of a floating type."""
    values = tensor.detach()
    finite = torch.isfinite(values)
    count = int(finite.sum())
    nan = int(torch.isnan(values).sum())
    kept = values[finite].double()
    lowest, highest, rms = (
        (float(kept.min()), float(kept.max()), float(kept.square().mean().sqrt())) if count else (None, None, None)
    )
    return Numbers(tuple(values.shape), nan, values.numel() - count - nan, lowest, highest, rms)


def is_sound(tensor: Tensor) -> bool:
    """Whether every number is finite."""
    return bool(torch.isfinite(tensor.detach()).all())


def tensors_in(value: object) -> list[Tensor]:
    """The tensors of floating types in a value: a tensor, or mappings and sequences of such."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, dict):
        return [each for part in value.values() for each in tensors_in(part)]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [each for part in value for each in tensors_in(part)]  # pyright: ignore[reportUnknownVariableType]
    return []
