"""Chooses next tokens from scores: one sampler in float64 for every session, so that equal scores give equal text.

Settings mean what they mean to Hugging Face's logits processors, in the order of its ``generate``: repetition penalty,
temperature, top-k, top-p, min-p.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from flexit.errors import TaskError
from flexit.runtime.probabilities import probabilities
from flexit.runtime.sessions.arrays import Array

STRONGEST = 1e6
"""Repetition penalty, or one over it, beyond which a score no longer counts beside others."""
COLDEST = 1e-6
"""Below, scores divided by the temperature overflow or say no more than the best token does."""
LIMITS = ("top_k", "top_p", "min_p")
"""What leaves tokens out of the draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0 takes the best token; above, scores are divided by it.
        top_k: only so many of the best tokens stay (more where scores are equal), or None.
        top_p: only the best tokens stay that together have this probability, or None.
        min_p: only tokens stay whose probability is at least this part of the best token's, or None.
        repetition_penalty: scores of tokens that the row has are divided by it, or multiplied where negative.
        seed: of the draw, with the step: a row's text does not depend on its batch.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        heat = number("temperature", self.temperature)
        if not (heat == 0 or heat >= COLDEST):
            raise out_of_range("temperature", f"0, or a number of at least {COLDEST}", self.temperature)
        if whole("seed", self.seed) < 0:
            raise out_of_range("seed", "an integer of at least 0", self.seed)
        require_penalty(self.repetition_penalty)
        if self.top_k is not None and whole("top_k", self.top_k) < 1:
            raise out_of_range("top_k", "at least 1", self.top_k)
        if self.top_p is not None and not 0 < number("top_p", self.top_p) <= 1:
            raise out_of_range("top_p", "a number above 0, at most 1", self.top_p)
        if self.min_p is not None and not 0 <= number("min_p", self.min_p) <= 1:
            raise out_of_range("min_p", "a number from 0 to 1", self.min_p)
        limited = [name for name in LIMITS if getattr(self, name) is not None]
        if limited and heat == 0:
            raise TaskError.of(
                "FX2003", f"{limited[0]} changes nothing at temperature 0", path=limited[0],
                expected="a temperature above 0", found="0, which takes the best token",
                cure=f"set a temperature, such as 0.8, or leave {limited[0]} out",
            )  # fmt: skip

    def choose(self, scores: Array, *, step: int, seen: Array | None = None) -> Array:
        """Tokens ``int64[batch]`` from scores ``[batch, vocab]`` at a step of the generation.

        Args:
            scores: of the next token.
            step: how many tokens were generated before.
            seen: tokens that each row has, prompt and text, ``bool[batch, vocab]``; none by default.
        """
        left = self.left(scores, seen=seen)
        if self.temperature == 0:
            return left.argmax(axis=-1)
        at = self.drawn_at(step)
        return np.array([_drawn(row, at) for row in left], np.int64)

    def left(self, scores: Array, *, seen: Array | None = None) -> Array:
        """Scores as they are drawn from, ``float64[batch, vocab]``: -inf for tokens that are left out."""
        found = penalised(scores.astype(np.float64), seen, self.repetition_penalty)
        if self.temperature == 0:
            return found
        found = found / self.temperature
        if self.top_k is not None and self.top_k < found.shape[-1]:
            least = np.partition(found, -self.top_k, axis=-1)[:, -self.top_k, None]
            found = np.where(found < least, -np.inf, found)
        if self.top_p is not None and self.top_p < 1:
            found = np.array([_nucleus(row, self.top_p) for row in found])
        if self.min_p is not None:
            chances = probabilities(found)
            found = np.where(chances < self.min_p * chances.max(axis=-1, keepdims=True), -np.inf, found)
        return found

    def drawn_at(self, step: int) -> float:
        """Where in the cumulative distribution a step draws, from 0 to 1."""
        return float(np.random.default_rng([self.seed, step]).random())


def penalised(scores: Array, seen: Array | None, penalty: float) -> Array:
    """Scores after the repetition penalty (Keskar et al. 2019): of tokens seen, divided by it or multiplied."""
    if seen is None or penalty == 1:
        return scores
    return np.where(seen, np.where(scores < 0, scores * penalty, scores / penalty), scores)


def _nucleus(scores: Array, top_p: float) -> Array:
    """The best tokens that together have the probability (Holtzman et al. 2020)."""
    order = np.argsort(scores, kind="stable")
    removed = np.cumsum(probabilities(scores)[order]) <= 1 - top_p
    removed[-1] = False
    left = scores.copy()
    left[order[removed]] = -np.inf
    return left


def _drawn(scores: Array, at: float) -> int:
    sums = np.cumsum(np.exp(scores - scores.max()))
    return int(np.searchsorted(sums, at * sums[-1], side="right").clip(0, scores.size - 1))


def require_penalty(penalty: object) -> None:
    """Refuse a repetition penalty that is no positive number, or one that scores overflow by.

    Raises:
        TaskError: FX2003.
    """
    if not 1 / STRONGEST <= number("repetition_penalty", penalty) <= STRONGEST:
        range_ = f"a number from {1 / STRONGEST:g} to {STRONGEST:g}; 1 changes nothing"
        raise out_of_range("repetition_penalty", range_, penalty)


def number(field: str, value: object) -> float:
    """A finite number.

    Raises:
        TaskError: FX2003, it is something else.
    """
    plain = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not plain or not np.isfinite(cast("float", value)):
        raise out_of_range(field, "a number", value)
    return float(cast("float", value))


def whole(field: str, value: object) -> int:
    """An integer.

    Raises:
        TaskError: FX2003, it is something else.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise out_of_range(field, "an integer", value)
    return int(value)


def out_of_range(field: str, expected: str, found: object) -> TaskError:
    """The error of a setting that cannot be."""
    return TaskError.of(
        "FX2003", f"{field} is out of range", path=field, expected=expected, found=str(found)[:60],
        cure=f"correct {field}",
    )  # fmt: skip
