"""What the error of a comparison is, where rows are of different size or nothing at all."""

import numpy as np
import pytest

from flexit.runtime.proof.compare import FLOOR, errors_by_row, relative_error

TOLERANCE = 1e-4


def outputs():
    """Four rows: two of ordinary size, one a fiftieth of that, one whose numbers cancel."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4, 6, 16))
    rows[2] /= 50
    rows[3] = 0
    return rows


def test_rounding_in_a_row_that_cancels_is_no_error():
    expected = outputs()
    found = expected + 5e-7 * np.abs(expected).max() * np.sign(np.random.default_rng(1).standard_normal(expected.shape))
    assert errors_by_row(found, expected).max() < TOLERANCE
    assert relative_error(found[3], expected[3]) > 1, "which it would be without a floor"


@pytest.mark.parametrize("row", range(4))
def test_a_fault_of_a_ten_thousandth_shows_in_any_row(row):
    """Relative to the row's own size, or to the hundredth of the largest that is the floor."""
    expected = outputs()
    size = max(np.abs(expected[row]).max(), FLOOR * np.abs(expected).max())
    found = expected.copy()
    found[row, 2, 3] += 1.01 * TOLERANCE * size
    errors = errors_by_row(found, expected)
    assert errors[row] > TOLERANCE
    assert np.delete(errors, row).max() == 0


def test_a_small_row_is_held_to_its_own_size():
    expected = outputs()
    found = expected.copy()
    found[2] *= 1 + 2 * TOLERANCE
    assert errors_by_row(found, expected)[2] == pytest.approx(2 * TOLERANCE)


def test_pads_count_neither_as_errors_nor_as_size():
    expected = outputs()
    valid = np.ones(expected.shape[:2], np.bool_)
    valid[:, 0] = False
    expected[:, 0] = 1e9
    found = expected.copy()
    found[:, 0] = -np.inf
    found[3, 1, 0] += 1e-3
    errors = errors_by_row(found, expected, valid)
    assert errors[:3].max() == 0
    assert errors[3] > TOLERANCE


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_differs(bad):
    expected = outputs()
    found = expected.copy()
    found[1, 0, 0] = bad
    assert errors_by_row(found, expected).tolist() == [0, np.inf, 0, 0]
    assert errors_by_row(expected, found)[1] == np.inf


def test_rows_of_pads_alone_and_outputs_of_zeros_agree():
    zeros = np.zeros((2, 3, 4))
    assert errors_by_row(zeros, zeros).tolist() == [0, 0]
    assert errors_by_row(zeros + 1e-30, zeros).max() > TOLERANCE
    assert errors_by_row(zeros, zeros, np.zeros((2, 3), np.bool_)).tolist() == [0, 0]
