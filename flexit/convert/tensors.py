"""Tensors that are read when they are asked for: what a file holds, or what is made of such tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexit.errors import SourceError
from flexit.files.safetensors import DTYPES

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """A tensor that is read, and worked out, each time it is asked for; until then it takes no memory.

    Attributes:
        shape: its lengths.
        dtype: its number format, a key of ``flexit.files.safetensors.DTYPES``.
        read: gives the array; what it is a view of (a mapped file) stays open as long as the array lives.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return prod(self.shape) * DTYPES[self.dtype].itemsize

    def numpy(self) -> Array:
        """The numbers; bf16 and fp8 as the number types of ``ml_dtypes``."""
        return self.read()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.read(), dtype=dtype, copy=copy)

    def torch(self) -> torch.Tensor:
        """The numbers as a PyTorch tensor, in the same format."""
        import torch

        array = np.asarray(self.read(), order="C")
        if not array.flags.writeable:
            array = array.copy()
        name = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}.get(self.dtype)
        if name is None:
            return torch.from_numpy(array)
        raw = array.view(np.int16 if array.itemsize == 2 else np.uint8)
        return torch.from_numpy(raw).view(getattr(torch, name))

    def then(self, shape: Sequence[int], work: Callable[[Array], Array]) -> LazyTensor:
        """What ``work`` makes of it, an array of ``shape`` in the same number format."""
        return LazyTensor(tuple(shape), self.dtype, lambda: work(self.read()))


def combined(parts: Sequence[LazyTensor], shape: Sequence[int], work: Callable[[Sequence[Array]], Array]) -> LazyTensor:
    """What ``work`` makes of several tensors of one number format, an array of ``shape``."""
    dtypes = {part.dtype for part in parts}
    if len(dtypes) != 1:
        raise SourceError.of(
            "FX1864", "tensors that are one parameter have several number formats", expected="one number format",
            found=", ".join(sorted(dtypes)), cure="get the checkpoint in one number format",
        )  # fmt: skip
    return LazyTensor(tuple(shape), dtypes.pop(), lambda: work([part.read() for part in parts]))
