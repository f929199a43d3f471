"""Symbolic lengths against the numbers that they stand for."""

from itertools import product

import pytest

from flexit.ir.analysis.limits import longest_within
from flexit.ir.dims import between, ceil_div, clip, evaluate, may_be_zero, symbol

N, M = symbol("n"), symbol("m")
LENGTHS = [
    N,
    2 * N,
    2 * N + 1,
    M + 3 * N + 5,
    N + 4,
    clip(N - 4),
    4 * N - 3,
    2 * N + 2 * clip(M - 1),
    ceil_div(N, 3) + M,
]


def numbers():
    return ({"n": n, "m": m} for n, m in product(range(1, 20), range(1, 6)))


@pytest.mark.parametrize("by", [2, 3])
@pytest.mark.parametrize("length", LENGTHS, ids=str)
def test_division_rounds_up(length, by):
    divided = ceil_div(length, by)
    assert all(evaluate(divided, given) == -(-evaluate(length, given) // by) for given in numbers())


@pytest.mark.parametrize("length", LENGTHS, ids=str)
def test_ranges_are_those_of_python(length):
    for start, stop in product(range(-7, 8), [None, *range(-7, 8)]):
        begin, end = between(length, start, stop)
        for given in numbers():
            size, first, last = (evaluate(one, given) for one in (length, begin, end))
            kept = range(size)[start:stop]
            assert last - first == len(kept), (start, stop, given)
            assert 0 <= first <= last <= size
            assert not kept or first == kept[0]


@pytest.mark.parametrize("length", [*LENGTHS, N - 1, clip(N - 1), 3], ids=str)
def test_what_may_be_zero(length):
    assert may_be_zero(length) == any(evaluate(length, given) <= 0 for given in numbers())


def test_equal_lengths_are_equal_expressions():
    assert ceil_div(2 * N, 2) == N
    assert ceil_div(2 * N + 3, 2) == N + 2
    assert clip(N + 4 - 4) == N
    assert between(N + 4, 4, None) == (4, N + 4)
    assert between(N, 0, None) == (0, N)
    assert clip(N - 1) == N - 1


@pytest.mark.parametrize("limit", range(1, 12))
@pytest.mark.parametrize("length", LENGTHS, ids=str)
def test_the_longest_inputs_within_a_limit(length, limit):
    """Every symbol is given the same number; so far beyond the limit no length of these comes back under it."""
    fits = [n for n in range(100) if evaluate(length, {"n": n, "m": n}) <= limit]
    assert list(longest_within(length, limit)) == [max(fits, default=0)]


def test_a_length_that_stays_within_a_limit_bounds_nothing():
    assert list(longest_within(3, 2)) == []
    begin, end = between(N, 0, 3)
    assert begin == 0
    assert list(longest_within(end, 4)) == []
    assert list(longest_within(end, 2)) == [2]
