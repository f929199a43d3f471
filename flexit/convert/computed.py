"""Tensors that a checkpoint may leave out, since they follow from their shape: constants, tables, frequencies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, cast

import numpy as np

from flexit.convert.mapping.family import Family
from flexit.convert.mapping.patterns import match
from flexit.convert.tensors import DTYPES, Array, LazyTensor
from flexit.errors import Problem

FREQUENCIES = "frequencies"
"""The style of a vector with the frequencies of a rotation, of base 10000."""
CLOSE = {"F16": 2e-3, "BF16": 1e-2}
"""How far a stored table may be from the computed one, by number format."""


def sinusoidal(style: str, shape: tuple[int, ...]) -> Array:
    """A table ``[positions, width]`` of sines, then cosines, in fp32.

    Args:
        style: ``concat``, exponents 2i / width (Vaswani et al. 2017); ``fairseq``, i / (width / 2 - 1).
        shape: rows and columns.
    """
    rows, width = shape
    half = width // 2
    exponents = np.arange(half) / (half - 1) if style == "fairseq" else 2 * np.arange(half) / width
    angles = np.arange(rows)[:, None] / np.power(10000.0, exponents)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def stand_in(absent: Any, shape: tuple[int, ...], dtype: str) -> LazyTensor:
    """What stands for a tensor that is not there: ``{sinusoidal: style}``, or the same number everywhere."""
    if isinstance(absent, dict):
        work = partial(sinusoidal, str(cast("dict[str, Any]", absent)["sinusoidal"]), shape)
    else:
        work = partial(np.full, shape, absent)
    return LazyTensor(shape, dtype, lambda: np.asarray(work(), DTYPES[dtype]))


def computed_names(family: Family, names: Mapping[str, LazyTensor], *, prefix: str) -> dict[str, str]:
    """Which tensors of a checkpoint the family computes, and in which style."""
    return {
        name: style
        for name in names
        for pattern, style in family.computed.items()
        if match(pattern, name) is not None or match(prefix + pattern, name) is not None
    }


def _distance(found: Array, style: str) -> float:
    """How far a table is from the computed one: of frequencies by their ratio, of positions by the difference."""
    if style == FREQUENCIES:
        usual = 10000.0 ** (-np.arange(len(found)) / len(found)) if found.ndim == 1 else np.nan
        return float(np.abs(found / usual - 1).max(initial=0.0))
    if found.ndim != len(("position", "channel")):
        return np.inf
    return float(np.abs(found - sinusoidal(style, found.shape))[found.any(axis=1)].max(initial=0.0))


def other_than_computed(styles: Mapping[str, str], tensors: Mapping[str, LazyTensor]) -> Iterator[Problem]:
    """Tables that hold something else than what the family computes; a row of zeros is that of the padding."""
    for name, style in styles.items():
        tensor = tensors[name]
        found = np.asarray(tensor.numpy(), np.float32)
        if _distance(found, style) <= CLOSE.get(tensor.dtype, 1e-4):
            continue
        yield Problem(
            code="FX1863", path=name, message="differs from the table that the family computes",
            expected=f"what the family computes ({style})", found="other numbers",
            cure="give a checkpoint that the family's own code has saved",
        )  # fmt: skip
