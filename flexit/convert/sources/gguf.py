"""A GGUF file: its metadata, and its tensors by its own names; those that are quantised are fp32 when they are read."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from flexit.convert.sources.gguf_header import Header, TensorInfo, Value, read_header, truncated
from flexit.convert.sources.inside import open_regular
from flexit.convert.sources.mapped import mapped, tensor_at
from flexit.convert.tensors import Array, LazyTensor
from flexit.errors import SourceError
from flexit.files.safetensors import DTYPES
from flexit.ir.wording import cut, either

PLAIN = {0: "F32", 1: "F16", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16"}
"""Formats that are read as they are, by their numbers in the file."""

_PIECE = 2**20
"""Elements that are dequantised at once."""


@dataclass(frozen=True, slots=True, eq=False)
class GgufFile:
    """An opened GGUF file.

    Attributes:
        path: the file.
        metadata: values by key (``general.architecture``, ``tokenizer.ggml.tokens``); arrays are lists.
        tensors: by GGUF's names, shapes in PyTorch's order. What is quantised in the file is F32 here.
        formats: the format of each tensor in the file, by ggml's names (``Q4_K``).
    """

    path: Path
    metadata: Mapping[str, Value]
    tensors: Mapping[str, LazyTensor]
    formats: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Format:
    """A number format: so many bytes hold so many elements."""

    name: str
    kind: int
    n_elements: int
    n_bytes: int


def open_gguf(path: str | Path) -> GgufFile:
    """Open a GGUF file. Links are followed, since the user named it.

    Raises:
        SourceError: FX1806 or FX1807 no file that can be read; FX1820 no GGUF, or a part of several; FX1821 it ends too
            early; FX1822 its header cannot be used; FX1823 a tensor's place; FX1824 a format that cannot be read;
            FX1825 the gguf package is missing.
    """
    path = Path(path)
    with open_regular(Path(os.path.realpath(path))) as stream:
        data = mapped(stream, path)
    header = read_header(data, path)
    _require_whole_model(header, path)
    formats = {kind: _format(kind, path) for kind in {info.kind for info in header.tensors}}
    _require_places(header, formats, data=data, path=path)
    return GgufFile(
        path=path,
        metadata=header.metadata,
        tensors={info.name: _tensor(info, formats[info.kind], header.start, data=data) for info in header.tensors},
        formats={info.name: formats[info.kind].name for info in header.tensors},
    )


def _require_whole_model(header: Header, path: Path) -> None:
    parts = header.metadata.get("split.count", 1)
    if parts not in (0, 1):
        raise SourceError.of(
            "FX1820", f"{path} is one part of several", expected="a file with the whole model",
            found=f"split.count: {cut(str(parts))}", cure="join the parts with llama-gguf-split --merge",
        )  # fmt: skip


def _format(kind: int, path: Path) -> _Format:
    if kind in PLAIN:
        return _Format(PLAIN[kind], kind, 1, DTYPES[PLAIN[kind]].itemsize)
    try:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
        from gguf.quants import dequantize
    except ImportError as error:
        raise SourceError.of(
            "FX1825", f"{path}: its tensors are quantised", expected="the package gguf, which reads them",
            found=str(error), cure="pip install 'flexit-ml[hf]'",
        ) from error  # fmt: skip
    try:
        known = GGMLQuantizationType(kind)
        n_elements, n_bytes = GGML_QUANT_SIZES[known]
        dequantize(np.zeros((1, n_bytes), np.uint8), known)
    except (ValueError, KeyError, NotImplementedError):
        raise SourceError.of(
            "FX1824", f"{path}: a number format that cannot be read",
            expected=either([*PLAIN.values(), "a quantised one that the package gguf can dequantise"]),
            found=next((known.name for known in GGMLQuantizationType if known == kind), f"format {kind}"),
            cure="quantise the model to another format, such as Q8_0",
        ) from None  # fmt: skip
    return _Format(known.name, kind, n_elements, n_bytes)


def _n_bytes(info: TensorInfo, format_: _Format) -> int:
    return prod(info.shape) // format_.n_elements * format_.n_bytes


def _require_places(header: Header, formats: Mapping[int, _Format], *, data: mmap.mmap | bytes, path: Path) -> None:
    """Every tensor is aligned, whole, within the file, and does not overlap another."""
    end, before = 0, "the header"
    for info in sorted(header.tensors, key=lambda one: one.offset):
        format_ = formats[info.kind]
        if format_.n_elements > 1 and (not info.shape or info.shape[-1] % format_.n_elements):
            needed = f"rows of a multiple of {format_.n_elements}, for {format_.name}"
            raise _misplaced(path, info, expected=needed, found=f"shape {list(info.shape)}")
        if info.offset % header.alignment:
            needed = f"a place that is a multiple of {header.alignment}"
            raise _misplaced(path, info, expected=needed, found=f"{info.offset:,}")
        if info.offset < end:
            needed = f"a place after {cut(before)}, which ends at {end:,}"
            raise _misplaced(path, info, expected=needed, found=f"{info.offset:,}")
        end, before = info.offset + _n_bytes(info, format_), info.name
        if header.start + end > len(data):
            raise truncated(path, f"{header.start + end:,} bytes, up to the end of {cut(info.name)}", len(data))


def _misplaced(path: Path, info: TensorInfo, *, expected: str, found: str) -> SourceError:
    return SourceError.of(
        "FX1823", f"{path}: {cut(info.name)} cannot lie where the header says", expected=expected, found=found,
        cure="copy the file anew, or convert the model again",
    )  # fmt: skip


def _tensor(info: TensorInfo, format_: _Format, start: int, *, data: mmap.mmap | bytes) -> LazyTensor:
    offset = start + info.offset
    if format_.kind in PLAIN:
        return tensor_at(data, offset, dtype=format_.name, shape=info.shape)
    return LazyTensor(info.shape, "F32", _dequantised(info, format_, offset, data=data))


def _dequantised(info: TensorInfo, format_: _Format, offset: int, *, data: Any) -> Callable[[], Array]:
    """Reads a quantised tensor, by rows so that only its result is large."""

    def read() -> Array:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        size = _n_bytes(info, format_)
        made = np.empty(info.shape, np.float32)
        if size == 0:
            return made
        width = info.shape[-1]
        raw = np.frombuffer(data, np.uint8, size, offset).reshape(-1, width // format_.n_elements * format_.n_bytes)
        rows, step = made.reshape(-1, width), max(1, _PIECE // width)
        with np.errstate(all="ignore"):  # a damaged scale is infinite or NaN, and so are its numbers
            for begin in range(0, len(rows), step):
                rows[begin : begin + step] = dequantize(raw[begin : begin + step], GGMLQuantizationType(format_.kind))
        return made

    return read
