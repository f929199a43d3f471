"""Checkpoints made for tests: good ones, and files with any header."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

Arrays = dict[str, np.ndarray[Any, Any]]

CONFIG = {"model_type": "llama", "hidden_size": 8}


def arrays() -> Arrays:
    """One array of each of several number formats and ranks."""
    rng = np.random.default_rng(0)
    return {
        "model.embed.weight": rng.normal(size=(5, 8)).astype(np.float32),
        "model.norm.weight": rng.normal(size=8).astype(ml_dtypes.bfloat16),
        "model.half": rng.normal(size=(2, 3, 4)).astype(np.float16),
        "model.steps": np.array(7, np.int64),
        "model.bytes": np.arange(3, dtype=np.uint8),
        "model.nothing": np.zeros((0, 4), np.float32),
        "model.flags": np.array([True, False, True]),
        "lm_head.weight": rng.normal(size=(5, 8)).astype(np.float32),
    }


def write_config(folder: Path, config: Any = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))


def write_single(folder: Path, given: Arrays | None = None) -> Arrays:
    """A folder with ``model.safetensors``, and what is in it."""
    made = arrays() if given is None else given
    write_config(folder)
    save_file(made, folder / "model.safetensors", metadata={"format": "pt"})
    return made


def write_sharded(folder: Path, given: Arrays | None = None, *, n_shards: int = 3) -> Arrays:
    """A folder with an index and shards, and what is in them."""
    made = arrays() if given is None else given
    write_config(folder)
    weight_map: dict[str, str] = {}
    for shard in range(n_shards):
        part = {name: array for at, (name, array) in enumerate(made.items()) if at % n_shards == shard}
        file = f"model-{shard + 1:05d}-of-{n_shards:05d}.safetensors"
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    write_index(folder, {name: weight_map[name] for name in made})
    return made


def write_index(folder: Path, weight_map: Any) -> None:
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def weight_map(folder: Path) -> dict[str, str]:
    return json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]


def write_raw(path: Path, header: Mapping[str, Any] | bytes, data: bytes = b"", *, length: int | None = None) -> None:
    """A safetensors file with any header and any bytes after it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def entry(begin: int, end: int, shape: Any = (1,), dtype: Any = "F32") -> dict[str, Any]:
    """A tensor of a header."""
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": [begin, end]}


def same(left: Any, right: Any) -> bool:
    """Whether two arrays have one shape, one number format and the same bytes."""
    left, right = np.asarray(left), np.asarray(right)
    return left.shape == right.shape and left.dtype == right.dtype and left.tobytes() == right.tobytes()
