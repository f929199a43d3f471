"""Files as mapped memory: pages come from the disk when an array of them is read, and can be dropped at any time."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from flexit.convert.sources.inside import unreadable
from flexit.convert.tensors import Array, LazyTensor
from flexit.files.safetensors import DTYPES


def mapped(stream: BinaryIO, path: Path) -> mmap.mmap | bytes:
    """The whole of an open file; the map outlives the stream. ``path`` is for messages.

    Raises:
        SourceError: FX1807, the operating system does not map it.
    """
    try:
        if os.fstat(stream.fileno()).st_size == 0:
            return b""
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise unreadable(path, error) from error


def tensor_at(data: mmap.mmap | bytes, offset: int, *, dtype: str, shape: Sequence[int]) -> LazyTensor:
    """The tensor whose numbers begin at a byte of a file; reading it copies nothing, but for truth values."""
    lengths, count = tuple(shape), prod(shape)
    numbers = DTYPES[dtype]

    def read() -> Array:
        if count == 0:
            return np.zeros(lengths, numbers)
        if dtype == "BOOL":  # any byte may stand there
            return np.frombuffer(data, np.uint8, count, offset).reshape(lengths) != 0
        return np.frombuffer(data, numbers, count, offset).reshape(lengths)

    return LazyTensor(lengths, dtype, read)
