"""What stands before the numbers of a GGUF file, read with every count and length held against the file's size.

Source: the specification of GGUF, versions 2 and 3 (``docs/gguf.md`` of ggml).
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from flexit.errors import SourceError
from flexit.ir.wording import cut, shown

MAX_HEADER = 128 * 2**20
"""Bytes; a vocabulary of 260,000 tokens with merges takes 20 MB."""
MAX_ELEMENTS = 2**22
"""Of all arrays together."""
MAX_RANK = 4
MAX_COUNT = 2**60
"""Elements of a tensor; beyond every disk."""

_NUMBERS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
_BOOL, _STRING, _ARRAY = 7, 8, 9

Value = int | float | bool | str | list[int] | list[float] | list[bool] | list[str]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What the header says of one tensor.

    Attributes:
        name: its name.
        shape: its lengths in PyTorch's order, the reverse of the file's.
        kind: number of its format.
        offset: byte where it begins, counted from where all numbers begin.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """Metadata by key, the tensors in order, and the byte where their numbers begin."""

    metadata: dict[str, Value]
    tensors: list[TensorInfo]
    start: int
    alignment: int


def read_header(data: mmap.mmap | bytes, path: Path) -> Header:
    """The header of a mapped GGUF file.

    Raises:
        SourceError: FX1820 no GGUF, or one that is not read here; FX1821 something reaches beyond the end of the file;
            FX1822 the header contradicts itself or is larger than one may be.
    """
    reader = _Reader(data, path)
    _require_gguf(reader)
    n_tensors, n_entries = reader.count(24), reader.count(13)
    metadata: dict[str, Value] = {}
    for _ in range(n_entries):
        key = reader.text()
        if key in metadata or not key:
            raise reader.wrong(f"the key {shown(key)} twice" if key else "a key without a name")
        metadata[key] = reader.value(reader.u32())
    tensors: dict[str, TensorInfo] = {}
    for _ in range(n_tensors):
        info = _tensor(reader)
        if info.name in tensors or not info.name:
            raise reader.wrong(f"the tensor {shown(info.name)} twice" if info.name else "a tensor without a name")
        tensors[info.name] = info
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 2**20 or alignment & (alignment - 1):
        raise reader.wrong(f"general.alignment: {cut(str(alignment))}")
    start = reader.at + -reader.at % alignment
    return Header(metadata, list(tensors.values()), start, alignment)


def truncated(path: Path, expected: str, size: int) -> SourceError:
    """The error of a file in which something reaches beyond the end."""
    return SourceError.of(
        "FX1821", f"{path} ends too early", expected=expected, found=f"{size:,} bytes",
        cure="copy the file anew, or finish the download",
    )  # fmt: skip


def _require_gguf(reader: _Reader) -> None:
    magic = reader.take(4) if len(reader.data) >= 4 else b""
    if magic != b"GGUF":
        raise _no_gguf(reader.path, "GGUF, the first four bytes", str(magic)[1:])
    version = reader.u32()
    if version not in (2, 3):
        found = f"version {version}" if version & 0xFFFF else "a file for machines that write the high byte first"
        raise _no_gguf(reader.path, "version 2 or 3, low byte first", found)


def _tensor(reader: _Reader) -> TensorInfo:
    name, rank = reader.text(), reader.u32()
    if rank > MAX_RANK:
        raise reader.wrong(f"{cut(name)} of {rank} dimensions")
    shape = tuple(reversed([reader.u64() for _ in range(rank)]))
    if prod(length or 1 for length in shape) >= MAX_COUNT:
        raise reader.wrong(f"{cut(name)} of shape {list(shape)}")
    return TensorInfo(name, shape, reader.u32(), reader.u64())


class _Reader:
    """A place in the header that moves on as things are read; nothing is read that the file does not have."""

    def __init__(self, data: mmap.mmap | bytes, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0
        self._elements = 0

    def take(self, n_bytes: int) -> bytes:
        begin = self._advance(n_bytes)
        return self.data[begin : self.at]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def count(self, least: int) -> int:
        """How many things follow, each of at least so many bytes."""
        number = self.u64()
        if number * least > len(self.data):
            raise truncated(self.path, f"{number:,} entries", len(self.data))
        return number

    def text(self) -> str:
        try:
            return self.take(self.u64()).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.wrong(f"a text that is no UTF-8: {cut(str(error.object))}") from None

    def value(self, kind: int) -> Value:
        """A value of a kind; arrays are flat."""
        if kind == _ARRAY:
            return self._array(self.u32())
        if kind == _STRING:
            return self.text()
        if kind == _BOOL:
            return self.take(1) != b"\0"
        return self._numbers(kind, 1)[0]

    def wrong(self, found: str) -> SourceError:
        """The error of a header that makes no sense."""
        return SourceError.of(
            "FX1822", f"{self.path}: its header cannot be used",
            expected=f"at most {MAX_HEADER:,} bytes and {MAX_ELEMENTS:,} elements of arrays, each key and tensor once, "
            f"tensors of at most {MAX_RANK} dimensions", found=found,
            cure="copy the file anew, or convert the model again",
        )  # fmt: skip

    def _array(self, kind: int) -> Value:
        number = self.u64()
        self._elements += number
        if self._elements > MAX_ELEMENTS:
            raise self.wrong(f"an array of {number:,} elements")
        if kind == _STRING:
            return [self.text() for _ in range(number)]
        if kind == _BOOL:
            return [byte != 0 for byte in self.take(number)]
        return self._numbers(kind, number)

    def _numbers(self, kind: int, number: int) -> list[Any]:
        if kind not in _NUMBERS:
            raise self.wrong("an array of arrays" if kind == _ARRAY else f"a value of the kind {kind}")
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self.take(number * dtype.itemsize), dtype).tolist()

    def _advance(self, n_bytes: int) -> int:
        begin, self.at = self.at, self.at + n_bytes
        if self.at > len(self.data):
            raise truncated(self.path, f"a header with {n_bytes:,} more bytes at {begin:,}", len(self.data))
        if self.at > MAX_HEADER:
            raise self.wrong(f"{n_bytes:,} more bytes at {begin:,}")
        return begin


def _no_gguf(path: Path, expected: str, found: str) -> SourceError:
    return SourceError.of(
        "FX1820", f"{path} is no GGUF file that can be read", expected=expected, found=found,
        cure="see that this is the file that you mean; convert it again with a current llama.cpp",
    )  # fmt: skip
