"""Tensors that a checkpoint may leave out: sinusoidal tables against their definition, stored ones held against it."""

import math

import numpy as np
import pytest

from flexit.convert.computed import other_than_computed, sinusoidal, stand_in
from flexit.convert.layouts import layout_of
from flexit.convert.tensors import LazyTensor


def by_definition(style, position, channel, width):
    half = width // 2
    index = channel % half
    exponent = index / (half - 1) if style == "fairseq" else 2 * index / width
    wave = math.sin if channel < half else math.cos
    return wave(position / 10000**exponent)


@pytest.mark.parametrize("style", ["concat", "fairseq"])
def test_a_sinusoidal_table_is_sines_then_cosines(style):
    found = sinusoidal(style, (50, 12))
    wanted = [[by_definition(style, row, column, 12) for column in range(12)] for row in range(50)]
    assert found.dtype == np.float32
    assert np.abs(found - np.array(wanted)).max() < 1e-6


def test_what_stands_for_an_absent_tensor_has_the_format_of_the_others():
    zeros = stand_in(0.0, (1, 5), "F16")
    assert (zeros.shape, zeros.numpy().dtype, zeros.numpy().tolist()) == ((1, 5), np.float16, [[0.0] * 5])
    assert np.array_equal(stand_in({"sinusoidal": "concat"}, (9, 4), "F32").numpy(), sinusoidal("concat", (9, 4)))


def stored(array, dtype="F32"):
    return {"table": LazyTensor(array.shape, dtype, lambda: array)}


def test_a_stored_table_is_held_against_the_computed_one():
    table = sinusoidal("fairseq", (20, 8))
    padded = table.copy()
    padded[1] = 0.0  # the row of the padding
    assert not list(other_than_computed({"table": "fairseq"}, stored(padded)))
    assert not list(other_than_computed({"table": "fairseq"}, stored(table.astype(np.float16), "F16")))
    assert [each.code for each in other_than_computed({"table": "concat"}, stored(table))] == ["FX1863"]
    assert [each.code for each in other_than_computed({"table": "concat"}, stored(table[0]))] == ["FX1863"]


def test_a_row_is_an_array_with_one_more_axis_in_front():
    row = layout_of("row")
    array = np.arange(5)
    assert row.shape([(5,)]) == (1, 5)
    assert row.join([array]).tolist() == [[0, 1, 2, 3, 4]]
    assert np.array_equal(row.split(row.join([array]), [(5,)])[0], array)


def test_frequencies_of_rotations_are_those_of_base_10000():
    usual = np.array([10000 ** -(index / 6) for index in range(6)], np.float32)
    assert not list(other_than_computed({"table": "frequencies"}, stored(usual)))
    assert not list(other_than_computed({"table": "frequencies"}, stored(usual.astype(np.float16), "F16")))
    for other in (usual * 1.01, usual[None], usual * np.nan):
        assert [each.code for each in other_than_computed({"table": "frequencies"}, stored(other))] == ["FX1863"]
