"""Writing tensors as safetensors, one at a time: a file of any size takes the memory of its largest tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from flexit.errors import FlexitError
from flexit.files.folder import disk_errors, sync_folder, write_file

DTYPES: dict[str, np.dtype[Any]] = {
    "U64": np.dtype(np.uint64), "I64": np.dtype(np.int64), "F64": np.dtype(np.float64), "F32": np.dtype(np.float32),
    "U32": np.dtype(np.uint32), "I32": np.dtype(np.int32), "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16), "U16": np.dtype(np.uint16), "I16": np.dtype(np.int16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn), "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I8": np.dtype(np.int8), "U8": np.dtype(np.uint8), "BOOL": np.dtype(np.bool_),
}  # fmt: skip
"""Number formats by the names that safetensors has for them, in the order in which the library writes them."""

INDEX = "model.safetensors.index.json"
_PIECE = 16 * 2**20
"""Bytes that are written at once."""
_RANKS = {name: rank for rank, name in enumerate(DTYPES)}

Progress = Callable[[int, int], None]
"""Called with the bytes of tensors that are written, and those of all."""


class Tensor(Protocol):
    """What is written: its shape and number format are known before its numbers are."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...

    def numpy(self) -> NDArray[Any]: ...


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Write a file durably, byte by byte what the library writes: ``path`` is the old file or the whole new one.

    Args:
        path: the file; what is there is replaced, and may be what the tensors are read from.
        tensors: by name; each is asked for its numbers once, and none is kept.
        metadata: texts that the header carries, such as ``{"format": "pt"}``.
        progress: called after every piece.

    Raises:
        ResourceError: FX1304, the operating system refused.
        FlexitError: a tensor is not of the shape or number format that it said.
    """
    _write(path, tensors, metadata=metadata, count=_Count(progress, sum(map(_nbytes, tensors.values()))))


def write_sharded(
    folder: Path, tensors: Mapping[str, Tensor], *, max_bytes: int = 5 * 10**9,
    metadata: Mapping[str, str] | None = None, progress: Progress | None = None,
) -> list[str]:  # fmt: skip
    """Write ``model.safetensors``, or shards of at most ``max_bytes`` of tensors with their index.

    Tensors go into shards in their order; one that is larger than ``max_bytes`` is alone in its.

    Returns:
        The names of the files with tensors.

    Raises:
        ResourceError: FX1304, the operating system refused.
        FlexitError: a tensor is not of the shape or number format that it said.
    """
    count = _Count(progress, sum(map(_nbytes, tensors.values())))
    shards = list(_shards(tensors, max_bytes))
    if len(shards) == 1:
        _write(folder / "model.safetensors", shards[0], metadata=metadata, count=count)
        return ["model.safetensors"]
    files = [f"model-{at:05d}-of-{len(shards):05d}.safetensors" for at in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        _write(folder / file, shard, metadata=metadata, count=count)
    places = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
    index = {"metadata": {"total_size": count.total}, "weight_map": {name: places[name] for name in tensors}}
    write_file(folder / INDEX, json.dumps(index, indent=2, ensure_ascii=False) + "\n")
    return files


class _Count:
    """How much of all tensors is written."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.done, self.total, self._progress = 0, total, progress

    def add(self, n_bytes: int) -> None:
        self.done += n_bytes
        if self._progress is not None:
            self._progress(self.done, self.total)


def _shards(tensors: Mapping[str, Tensor], max_bytes: int) -> Iterator[dict[str, Tensor]]:
    """The tensors in order, cut where one more would be too many bytes."""
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        if shard and size + _nbytes(tensor) > max_bytes:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += _nbytes(tensor)
    yield shard


def _write(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None, count: _Count) -> None:
    ordered = dict(sorted(tensors.items(), key=lambda item: (_RANKS[item[1].dtype], item[0])))
    temporary = path.with_name(f"{path.name}.tmp")
    with disk_errors(path):
        try:
            with temporary.open("wb", buffering=0) as file:
                _put(file, _header(ordered, metadata))
                for name, tensor in ordered.items():
                    _write_tensor(file, name, tensor, count=count)
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None) -> bytes:
    """The header of tensors that follow each other in this order, padded so that their numbers are aligned."""
    ends = list(accumulate(map(_nbytes, tensors.values()), initial=0))
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    for (name, tensor), begin, end in zip(tensors.items(), ends[:-1], ends[1:], strict=True):
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write_tensor(file: BinaryIO, name: str, tensor: Tensor, *, count: _Count) -> None:
    """Write the numbers of one tensor by slices of its first axis; a copy is made of what does not lie in order."""
    array = tensor.numpy()
    if array.shape != tuple(tensor.shape) or array.dtype != DTYPES[tensor.dtype]:
        raise FlexitError(
            f"{name} was to be {tensor.dtype} of shape {list(tensor.shape)}, "
            f"and is {array.dtype} of shape {list(array.shape)}"
        )
    if array.size == 0:
        return
    rows = array.reshape(1) if array.ndim == 0 else array
    step = max(1, _PIECE * len(rows) // array.nbytes)
    for begin in range(0, len(rows), step):
        piece = np.ascontiguousarray(rows[begin : begin + step])
        _put(file, piece.reshape(-1).view(np.uint8).data)
        count.add(piece.nbytes)


def _put(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of it; the operating system may take less at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _nbytes(tensor: Tensor) -> int:
    return prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
