"""One safetensors file: its header, checked in full before a tensor of it is handed out, and its tensors, mapped.

The library's own reader checks as much and copies each tensor; ours copies none and says which rule is broken.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from flexit.convert.sources.inside import open_file
from flexit.convert.sources.json import parse_json
from flexit.convert.sources.mapped import mapped, tensor_at
from flexit.convert.tensors import LazyTensor
from flexit.errors import SourceError
from flexit.files.safetensors import DTYPES
from flexit.ir.wording import cut, either, shown

MAX_HEADER = 100_000_000
"""Bytes of a header, as in the safetensors library."""
MAX_RANK = 64
"""Dimensions of an array of numpy."""
MAX_COUNT = 2**60
"""Beyond every disk."""

_AGAIN = "copy the file anew; what is there is not what was written"


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the header says of one tensor; ``begin`` and ``end`` count from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_safetensors(folder: Path, name: str) -> dict[str, LazyTensor]:
    """The tensors of a safetensors file of the folder, in the order of its header.

    Raises:
        SourceError: FX1805 to FX1807 the file cannot be opened; FX1810 truncated, FX1811 the header is none or too
            large, FX1812 overlapping or with gaps, FX1813 a tensor's bytes are not its shape's, FX1814 a number format
            that is not known.
    """
    path = folder / name
    with open_file(folder, name) as stream:
        size = os.fstat(stream.fileno()).st_size
        start, header = _header(stream, path, size)
        entries = [_entry(key, value, path) for key, value in header.items() if key != "__metadata__"]
        _require_covered(entries, path, size - start)
        data = mapped(stream, path)
    return {entry.name: tensor_at(data, start + entry.begin, dtype=entry.dtype, shape=entry.shape) for entry in entries}


def _header(stream: BinaryIO, path: Path, size: int) -> tuple[int, dict[str, Any]]:
    """Where the numbers begin, and what the header says."""
    length = int.from_bytes(stream.read(8), "little")
    if size < 8:
        raise _truncated(path, "the length of the header, 8 bytes", size)
    if length > MAX_HEADER:
        raise _no_header(path, f"a header of {length:,} bytes")
    if length > size - 8:
        raise _truncated(path, f"a header of {length:,} bytes", size)
    try:
        header = parse_json(stream.read(length), str(path))
    except SourceError as error:
        raise _no_header(path, error.problems[0].found) from None
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _no_header(path, f"__metadata__: {shown(metadata)}")
    return 8 + length, header


def _entry(name: str, value: Any, path: Path) -> _Entry:
    """One tensor of the header, whose bytes are as many as its shape needs."""
    place = f"{path}: {cut(name)}"
    if not isinstance(value, dict):
        raise _no_header(path, f"{cut(name)}: {shown(value)}")
    dtype, shape, offsets = value.get("dtype"), _lengths(value.get("shape")), _lengths(value.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2 or not _array(shape):
        raise _no_header(path, f"{cut(name)}: {shown(value)}")
    if dtype not in DTYPES:
        raise SourceError.of(
            "FX1814", f"{place} is in a number format that is not known", expected=either(DTYPES), found=cut(dtype),
            cure="convert the checkpoint to one of these formats with the library that wrote it",
        )  # fmt: skip
    needed, (begin, end) = prod(shape) * DTYPES[dtype].itemsize, offsets
    if end - begin != needed:
        raise SourceError.of(
            "FX1813", f"{place} has another size than its shape says",
            expected=f"{needed:,} bytes for {dtype} of shape {shown(list(shape))}", found=f"{end - begin:,} bytes",
            cure=_AGAIN,
        )  # fmt: skip
    return _Entry(name, dtype, shape, begin, end)


def _lengths(value: Any) -> tuple[int, ...] | None:
    """A list of whole numbers that a machine can count to; None of anything else."""
    if isinstance(value, list) and all(type(entry) is int and 0 <= entry < MAX_COUNT for entry in value):
        return tuple(value)
    return None


def _array(shape: tuple[int, ...]) -> bool:
    """Whether an array may have this shape; zeros do not excuse other lengths that are absurd."""
    return len(shape) <= MAX_RANK and prod(length or 1 for length in shape) < MAX_COUNT


def _require_covered(entries: list[_Entry], path: Path, size: int) -> None:
    """The tensors follow each other without overlap or gap, up to the end of the file."""
    at, before = 0, "the header"
    for entry in sorted(entries, key=lambda one: (one.begin, one.end)):
        if entry.begin != at:
            raise SourceError.of(
                "FX1812", f"{path}: tensors {'overlap' if entry.begin < at else 'leave a gap'}",
                expected=f"{cut(entry.name)} to begin where {cut(before)} ends, at {at:,}",
                found=f"it begins at {entry.begin:,}", cure=_AGAIN,
            )  # fmt: skip
        at, before = entry.end, entry.name
    if at > size:
        raise _truncated(path, f"{at:,} bytes of tensors", size)
    if at < size:
        raise SourceError.of(
            "FX1812", f"{path} holds bytes that belong to no tensor", expected=f"{at:,} bytes of tensors",
            found=f"{size:,} bytes", cure=_AGAIN,
        )  # fmt: skip


def _truncated(path: Path, expected: str, size: int) -> SourceError:
    return SourceError.of(
        "FX1810", f"{path} ends too early", expected=expected, found=f"{size:,} bytes",
        cure="copy the file anew, or finish the download",
    )  # fmt: skip


def _no_header(path: Path, found: str) -> SourceError:
    return SourceError.of(
        "FX1811", f"{path} is no safetensors file",
        expected=f"a header of at most {MAX_HEADER:,} bytes that says dtype, shape and data_offsets of each tensor",
        found=found, cure="see that this is the file that you mean, and copy it anew",
    )  # fmt: skip
