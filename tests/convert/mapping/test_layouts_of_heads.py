"""Layouts that know of heads: rows of rotations the other way round."""

import numpy as np
import pytest

from flexit.convert.layouts import layout_of


def turned(x, angles):
    """Rotation of pairs ``(i, i + half)`` of the last axis."""
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate(
        [first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)], -1
    )


def test_scores_of_rotations_the_other_way_round_are_those_of_halves_exchanged():
    rng = np.random.default_rng(0)
    heads, width = 2, 6
    weight_q, weight_k = rng.standard_normal((2, heads * width, 5))
    layout = layout_of({"halves": heads})
    x, y = rng.standard_normal((2, 5))
    frequencies = rng.standard_normal(width // 2)

    def scores(q_rows, k_rows, direction):
        q = turned((q_rows @ x).reshape(heads, width), direction * 3.0 * frequencies)
        k = turned((k_rows @ y).reshape(heads, width), direction * 7.0 * frequencies)
        return (q * k).sum(-1)

    (ours_q,), (ours_k,) = (layout.split(rows, [rows.shape]) for rows in (weight_q, weight_k))
    np.testing.assert_allclose(scores(ours_q, ours_k, 1.0), scores(weight_q, weight_k, -1.0), rtol=1e-12)
    assert np.array_equal(layout.join([ours_q]), weight_q)


def test_rows_that_are_no_halves_are_refused():
    with pytest.raises(ValueError, match="no halves of 4 heads"):
        layout_of({"halves": 4}).shape([(12, 5)])
