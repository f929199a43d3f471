"""Scores as probabilities."""

from __future__ import annotations

import numpy as np

from flexit.runtime.sessions.arrays import Array


def probabilities(scores: Array) -> Array:
    """Softmax over the last axis, in float64."""
    weights = np.exp(_shifted(scores))
    return weights / weights.sum(axis=-1, keepdims=True)


def log_probabilities(scores: Array) -> Array:
    """Their logarithms, over the last axis, in float64."""
    shifted = _shifted(scores)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _shifted(scores: Array) -> Array:
    """Scores of which the largest is 0, so that no power overflows."""
    wide = scores.astype(np.float64)
    return wide - wide.max(axis=-1, keepdims=True)
