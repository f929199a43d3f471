"""Writing a GGUF file, a tensor at a time, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexit.convert.tensors import Array, LazyTensor
from flexit.errors import SourceError, UserError
from flexit.files.folder import disk_errors, sync_file, sync_folder
from flexit.files.safetensors import Progress

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

FORMATS = {"f32": 0, "f16": 1, "bf16": 32, "q8_0": 7}
"""Number formats of matrices that are written, and what ``general.file_type`` calls a file of them."""
WHOLE = ("_norm.weight", ".ffn_gate_inp.weight", "position_embd.weight", "token_types.weight")
"""Endings of the names of tensors that stay fp32 whatever their shape, as llama.cpp has them; so do all vectors."""


def write_gguf(
    path: Path, architecture: str, *, metadata: Mapping[str, Any], tensors: Mapping[str, LazyTensor], dtype: str,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Write a file durably: ``path`` is what was there or the whole new one.

    Args:
        path: the file.
        architecture: ``general.architecture``.
        metadata: texts, flags, numbers and lists of these by key.
        tensors: fp32, by name; each is asked for its numbers once, and none is kept.
        dtype: a key of :data:`FORMATS`, that of matrices. Rows that ``q8_0`` cannot divide are fp16.
        progress: called with bytes written and bytes in all, after every tensor.

    Raises:
        SourceError: FX1825, the package gguf is missing; FX1873, a number is too large for the format.
        ResourceError: FX1304, the operating system refused.
    """
    kinds = {name: _kind(name, tensor, dtype) for name, tensor in tensors.items()}
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with disk_errors(path), _replacing(temporary, path), _writer(temporary, architecture) as writer:
        for key, value in metadata.items():
            _add(writer, key, value)
        sizes: list[int] = []
        for name, tensor in tensors.items():
            sizes.append(_size(tensor.shape, kinds[name]))
            writer.add_tensor_info(name, tensor.shape, np.dtype(np.float32), sizes[-1], raw_dtype=kinds[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        done = 0
        for (name, tensor), size in zip(tensors.items(), sizes, strict=True):
            writer.write_tensor_data(_stored(name, tensor.numpy(), kinds[name]))
            done += size
            if progress is not None:
                progress(done, sum(sizes))


def require_package() -> None:
    """Refuse to go on without the package gguf.

    Raises:
        SourceError: FX1825.
    """
    try:
        import gguf  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise SourceError.of(
            "FX1825", "GGUF files are written by one more library", expected="the package gguf", found=str(error),
            cure="pip install 'flexit-ml[hf]'",
        ) from error  # fmt: skip


@contextmanager
def _writer(path: Path, architecture: str) -> Iterator[GGUFWriter]:
    from gguf import GGUFWriter

    writer = GGUFWriter(path, architecture)
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def _replacing(temporary: Path, path: Path) -> Iterator[None]:
    """Put what a block has written in place of a file, or remove it."""
    try:
        temporary.unlink(missing_ok=True)  # of a process of that number that was killed
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
        sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _kind(name: str, tensor: LazyTensor, dtype: str) -> GGMLQuantizationType:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(tensor.shape) < 2 or name.endswith(WHOLE):
        return GGMLQuantizationType.F32
    kind = GGMLQuantizationType[dtype.upper()]
    return kind if tensor.shape[-1] % GGML_QUANT_SIZES[kind][0] == 0 else GGMLQuantizationType.F16


def _size(shape: tuple[int, ...], kind: GGMLQuantizationType) -> int:
    from gguf import GGML_QUANT_SIZES

    n_elements, n_bytes = GGML_QUANT_SIZES[kind]
    return prod(shape) // n_elements * n_bytes


def _stored(name: str, array: Array, kind: GGMLQuantizationType) -> Array:
    """The bytes of a tensor.

    Raises:
        SourceError: FX1873.
    """
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    plain = np.ascontiguousarray(array, np.float32)
    with np.errstate(over="ignore"):
        stored = quantize(plain, kind)
    largest = float(np.abs(plain).max(initial=0.0))
    halves = kind in (GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0)
    limit = 65504.0 * (127 if kind == GGMLQuantizationType.Q8_0 else 1)
    if halves and np.isfinite(largest) and largest > limit:
        raise SourceError.of(
            "FX1873", f"a number is too large for {kind.name.lower()}", path=name, expected=f"at most {limit:,.0f}",
            found=f"{largest:g}", cure="write --dtype bf16 or f32",
        )  # fmt: skip
    return stored


def require_new(path: Path, *, force: bool) -> None:
    """Refuse to write over what is there.

    Raises:
        UserError: FX1301, it exists; FX1302, it is no file.
    """
    if path.is_dir():
        raise UserError.of(
            "FX1302", f"{path} will not be replaced", expected="the name of a file", found="a folder",
            cure="choose another name",
        )  # fmt: skip
    if not force and os.path.lexists(path):
        raise UserError.of(
            "FX1301", f"{path} exists already", expected="a new name", found="a file",
            cure="add --force (in Python: force=True) to replace it, or choose another name",
        )  # fmt: skip
