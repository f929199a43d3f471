"""Infinities and NaNs are found in every number format that has them, wherever they are."""

from __future__ import annotations

import numpy as np
import pytest

from flexit.convert.sources import finite
from flexit.convert.sources.finite import not_finite
from flexit.convert.tensors import Array, LazyTensor
from flexit.files.safetensors import DTYPES

FLOATS = ["F64", "F32", "F16", "BF16", "F8_E5M2", "F8_E4M3"]


def lazy(array: Array, dtype: str) -> LazyTensor:
    return LazyTensor(array.shape, dtype, lambda: array)


def every_number(dtype: str) -> Array:
    """All numbers of a format of at most 16 bits; of others, many of any bits."""
    size = DTYPES[dtype].itemsize
    if size <= 2:
        return np.arange(256**size, dtype=f"u{size}").view(DTYPES[dtype])
    return np.random.default_rng(0).integers(0, 256, 20_000 * size, dtype=np.uint8).view(DTYPES[dtype])


@pytest.mark.parametrize("dtype", FLOATS)
def test_number_by_number_as_numpy_says(dtype: str) -> None:
    numbers = every_number(dtype)
    with np.errstate(all="ignore"):
        finite_ones = np.isfinite(numbers.astype(np.float64))
    assert not_finite({"good": lazy(numbers[finite_ones], dtype)}) == []
    bad = numbers[~finite_ones]
    assert len(bad) > 1
    for number in bad[:: max(1, len(bad) // 50)]:
        assert not_finite({"bad": lazy(np.array(number), dtype)}) == ["bad"]


@pytest.mark.parametrize("dtype", FLOATS)
def test_wherever_it_is(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite, "_PIECE", 4)
    for at in range(15):
        array = np.ones(15, DTYPES[dtype])
        array[at] = np.nan
        views = {"whole": array, "rows": array.reshape(3, 5), "turned": array.reshape(3, 5).T, "none": array[:0]}
        assert not_finite({name: lazy(view, dtype) for name, view in views.items()}) == ["whole", "rows", "turned"]


def test_integers_are_numbers() -> None:
    kinds = [name for name in DTYPES if name not in FLOATS]
    assert not_finite({name: lazy(np.full(3, 255).astype(DTYPES[name]), name) for name in kinds}) == []
