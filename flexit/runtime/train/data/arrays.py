"""Token ids in files of numbers, mapped into memory from where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from flexit.errors import UserError
from flexit.runtime.train.data.files import Document, damaged, opened

Numbers = npt.NDArray[np.int64]
HEADERS = {b"LITPKDS": ("lit-gpt's packed data", 24), (20240520).to_bytes(4, "little"): ("llm.c", 1024)}
HEADERS[(20240801).to_bytes(4, "little")] = ("llm.c", 1024)
"""How files of bare numbers begin that have a header, whose it is, and how many bytes it has."""
_LOOKED_AT, _ENOUGH = 4096, 64
"""Numbers at the beginning of a file that tell its width, and how many are needed."""


@dataclass(frozen=True)
class ArrayFile:
    """Numbers in a file.

    Attributes:
        path: the file.
        sha256: of its bytes, hexadecimal.
        dtype: of the numbers, as NumPy writes it (``<u2``).
        begin: bytes in front of them.
        shape: how many, or rows and numbers per row.
    """

    path: Path
    sha256: str
    dtype: str
    begin: int
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return int(np.prod(self.shape))

    @cached_property
    def values(self) -> npt.NDArray[Any]:
        """The numbers in one row, memory-mapped."""
        if len(self) == 0:  # nothing cannot be mapped
            return np.zeros(0, self.dtype)
        return np.memmap(self.path, np.dtype(self.dtype), "r", offset=self.begin, shape=(len(self),))

    def __reduce__(self) -> tuple[Any, ...]:
        return (ArrayFile, (self.path, self.sha256, self.dtype, self.begin, self.shape))


class Mapped:
    """Token ids of several files as if they stood in one. Another process that is sent one maps the files itself.

    Attributes:
        starts: ``int64 [documents + 1]``: where each begins, counted through all files, and where the last ends.
    """

    def __init__(self, files: Sequence[ArrayFile], starts_file: Path) -> None:
        """The ids.

        Args:
            files: in order.
            starts_file: with ``starts``.
        """
        self._files, self._starts_file = tuple(files), starts_file
        self._ends = np.cumsum([len(file) for file in files], dtype=np.int64)
        self.starts = np.fromfile(starts_file, np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Mapped, (self._files, self._starts_file))

    @property
    def lengths(self) -> Numbers:
        """How many ids each document has."""
        return np.diff(self.starts)

    def row(self, index: int) -> Numbers:
        """The ids of a document."""
        return self.take(np.arange(self.starts[index], self.starts[index + 1]))

    def take(self, places: Numbers) -> Numbers:
        """Ids by their places among those of all files."""
        which = np.searchsorted(self._ends, places, side="right")
        found = np.empty(places.shape, np.int64)
        for number in np.unique(which):
            here = which == number
            file = self._files[number]
            found[here] = file.values[places[here] - (self._ends[number] - len(file))]
        return found


def array_file(document: Document, *, dtype: str | None, skip: int) -> ArrayFile:
    """Where the numbers of a file are.

    Args:
        document: the file.
        dtype: of bare numbers.
        skip: bytes in front of bare numbers.

    Raises:
        UserError: FX1607, it is damaged or has other numbers; FX1601, it cannot be read.
    """
    with opened(document.path) as file:
        head = file.read(8)
    if head.startswith(npy.MAGIC_PREFIX):
        found = _of_numpy(document, dtype)
    else:
        found = _bare(document, head, dtype=dtype, skip=skip)
    _require_width(found)
    return found


def _of_numpy(document: Document, dtype: str | None) -> ArrayFile:
    path = document.path
    try:
        with opened(path) as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, found = read(file)
            begin = file.tell()
    except ValueError as error:
        raise damaged(
            str(path), expected="a whole header of NumPy's format", found=str(error).split("\n")[0]
        ) from error
    if found.kind not in "iu" or found.fields is not None:
        raise damaged(str(path), expected="whole numbers", found=f"numbers of type {found}")
    if dtype is not None and found != np.dtype(dtype):
        raise damaged(str(path), expected=f"{dtype}, as dtype says", found=found.name)
    if len(shape) not in (1, 2) or (fortran and len(shape) == 2):
        order = " in the order of Fortran" if fortran else ""
        raise damaged(str(path), expected="one axis, or rows and their tokens", found=f"shape {list(shape)}{order}")
    needed, there = begin + int(np.prod(shape)) * found.itemsize, path.stat().st_size
    if there != needed:
        raise damaged(str(path), expected=f"{needed} bytes, as its header says", found=f"{there}")
    return ArrayFile(path, document.sha256, found.str, begin, tuple(shape))


def _bare(document: Document, head: bytes, *, dtype: str | None, skip: int) -> ArrayFile:
    path = document.path
    if dtype is None:
        raise UserError.of(
            "FX1607", f"{path} does not say what its numbers are", path="dtype",
            expected="dtype, or a file in NumPy's format", found="bare numbers",
            cure="write dtype: uint16 for vocabularies below 65536, else uint32; or how the file was made",
        )  # fmt: skip
    for magic, (whose, size) in HEADERS.items():
        if skip == 0 and head.startswith(magic):
            raise UserError.of(
                "FX1607", f"{path} does not begin with its numbers", path="skip",
                expected="numbers from the first byte", found=f"the header of {whose}", cure=f"write skip: {size}",
            )  # fmt: skip
    there, width = path.stat().st_size, np.dtype(dtype).itemsize
    if there < skip or (there - skip) % width:
        raise damaged(
            str(path), expected=f"numbers of {width} bytes" + (f" after {skip}" if skip else ""), found=f"{there} bytes"
        )
    return ArrayFile(path, document.sha256, np.dtype(dtype).newbyteorder("<").str, skip, ((there - skip) // width,))


def _require_width(file: ArrayFile) -> None:
    """Raise where every second number is zero, as it is when numbers are read at half their width."""
    first = file.values[:_LOOKED_AT]
    if len(first) < _ENOUGH or first.dtype.itemsize == 8:
        return
    for low, high in ((0, 1), (1, 0)):
        if not first[high::2].any() and first[low::2].any():
            raise damaged(
                str(file.path), expected=f"numbers of {first.dtype.itemsize} bytes",
                found=f"every second one is 0 among the first {len(first)}, as in numbers of twice as many bytes",
            )  # fmt: skip
