"""Chooses next tokens from scores: one sampler in float64 for every session, so that equal scores give equal text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexit.errors import TaskError
from flexit.runtime.session import Array

COLDEST = 1e-6
"""Below, scores divided by the temperature overflow or say no more than the best token does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0 takes the best token; above, scores are divided by it.
        top_k: only so many of the best tokens stay, or None.
        seed: of the draw; row and step are part of it, so a row's text does not depend on its batch.
    """

    temperature: float = 0.0
    top_k: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.temperature == 0 or (self.temperature >= COLDEST and np.isfinite(self.temperature))):
            raise _refused("temperature", f"0, or a number of at least {COLDEST}", self.temperature)
        if self.seed < 0:
            raise _refused("seed", "an integer of at least 0", self.seed)
        if self.top_k is not None and self.top_k < 1:
            raise _refused("top_k", "at least 1", self.top_k)

    def choose(self, scores: Array, *, step: int) -> Array:
        """Tokens ``int64[batch]`` from scores ``[batch, vocab]`` at a step of the generation."""
        if self.temperature == 0:
            return scores.astype(np.float64).argmax(axis=-1)
        return np.array([self._draw(row, step) for row in scores.astype(np.float64)], np.int64)

    def _draw(self, scores: Array, step: int) -> int:
        scaled = scores / self.temperature
        if self.top_k is not None and self.top_k < scaled.size:
            order = np.argsort(-scaled, kind="stable")
            scaled[order[self.top_k :]] = -np.inf
        weights = np.exp(scaled - scaled.max())
        edge = np.random.default_rng([self.seed, step]).random() * weights.sum()
        return int(np.searchsorted(np.cumsum(weights), edge, side="right").clip(0, scaled.size - 1))


def _refused(field: str, expected: str, found: object) -> TaskError:
    return TaskError.of(
        "FX2003", f"{field} is out of range", path=field, expected=expected, found=str(found), cure=f"correct {field}"
    )
