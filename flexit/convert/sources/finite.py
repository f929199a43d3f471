"""Weights that are no numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flexit.convert.tensors import Array, LazyTensor

_PIECE = 2**22
"""Elements that are looked at together."""

_EXPONENTS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F64": (np.uint64, 0x7FF0_0000_0000_0000), "F32": (np.uint32, 0x7F80_0000), "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80), "F8_E5M2": (np.uint8, 0x7C), "F8_E4M3": (np.uint8, 0x7F),
}  # fmt: skip
"""Bits that are all set in infinities and NaNs of a format and in nothing else; E4M3 has NaNs alone, of all bits."""


def not_finite(tensors: Mapping[str, LazyTensor]) -> list[str]:
    """The names of tensors in which there is an infinity or NaN. Reads each tensor once, and keeps none."""
    return [name for name, tensor in tensors.items() if not is_finite(tensor.numpy(), tensor.dtype)]


def is_finite(array: Array, dtype: str) -> bool:
    """Whether there is no infinity and no NaN in an array of a number format, which is looked at piece by piece."""
    if dtype not in _EXPONENTS:
        return True
    kind, mask = _EXPONENTS[dtype]
    bits = np.asarray(array, order="C").reshape(-1).view(kind)
    pieces = (bits[begin : begin + _PIECE] for begin in range(0, len(bits), _PIECE))
    return not any(bool(((piece & kind(mask)) == kind(mask)).any()) for piece in pieces)
