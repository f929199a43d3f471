"""Checkpoints of which only the branches are kept: read with the weights that they stand beside, added to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from flexit.convert.sources.safetensors import read_safetensors
from flexit.convert.tensors import LazyTensor
from flexit.errors import CheckpointError
from flexit.files.safetensors import DTYPES
from flexit.ir.io.places import ADAPTER, WEIGHTS
from flexit.ir.passes.lora import beside
from flexit.runtime.adapters.lora import Adapter, adapter_in

NOTE = "adapter.json"
START = "start"
"""Folder of a run with the weights that it began with, where a note may find them that was moved with the run."""


def is_adapter(folder: Path) -> bool:
    """Whether a checkpoint has branches that stand beside weights."""
    return (folder / ADAPTER).is_file()


def read_note(folder: Path) -> Adapter:
    """What ``adapter.json`` says.

    Raises:
        CheckpointError: FX1201, there is none, or something else in it.
    """
    try:
        data = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        base = data["base"]
        if base is not None:
            base = {key: str(base[key]) for key in ("path", "sha256")}
        targets, trained = ([str(path) for path in data[key]] for key in ("targets", "trained"))
        numbers = int(data["rank"]), float(data["alpha"]), float(data["scale"]), float(data["dropout"])
        return Adapter(*numbers, tuple(targets), tuple(trained), cast("Mapping[str, str] | None", base))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError.of(
            "FX1201", f"{folder / NOTE} cannot be read", expected="what stands beside which weights",
            found=str(error) or type(error).__name__, cure="use another checkpoint",
        ) from error  # fmt: skip


def note_of(model: object) -> dict[str, str]:
    """The note that goes with the weights of a module, if something stands beside them."""
    adapter = adapter_in(model)
    return {} if adapter is None else {NOTE: adapter.to_json()}


def sha256(file: Path) -> str:
    """The hash of a file of weights."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def base_of(folder: Path, adapter: Adapter, base: Path | None = None) -> Path:
    """The folder with the weights that an adapter stands beside.

    Args:
        folder: of the adapter.
        adapter: its note.
        base: where they are now.

    Raises:
        CheckpointError: FX2211, they are not there, or are others.
    """
    if adapter.base is None:
        return folder
    found: list[str] = []
    for place in [base] if base is not None else _places(folder, adapter.base["path"]):
        file = place / WEIGHTS
        if not file.is_file():
            found.append(f"nothing in {place}")
        elif sha256(file) != adapter.base["sha256"]:
            found.append(f"other weights in {place}")
        else:
            return place
    raise CheckpointError.of(
        "FX2211", "the weights that the adapter stands beside are not there", path=str(folder),
        expected=f"{WEIGHTS} with the hash {adapter.base['sha256'][:12]}...", found="; ".join(found),
        cure="put them back, or say where they are: flexit merge ADAPTER --base DIR -o OUT",
    )  # fmt: skip


def _places(folder: Path, written: str) -> Iterator[Path]:
    yield Path(written)
    yield from (above / START for above in folder.absolute().parents[:4] if (above / START).is_dir())


def read_merged(folder: Path, *, base: Path | None = None) -> dict[str, LazyTensor]:
    """The weights of a model with its branches added, each worked out when it is asked for.

    Args:
        folder: a checkpoint with an adapter.
        base: where the weights are that it stands beside, if not where its note says.

    Raises:
        CheckpointError: FX1201, a file is damaged; FX2211, the weights are not there, or are others.
        SourceError: a file of tensors cannot be read.
    """
    adapter = read_note(folder)
    weights = read_safetensors(base_of(folder, adapter, base), WEIGHTS)
    own = read_safetensors(folder, ADAPTER)
    if set(own) != {*adapter.names} or not {*adapter.targets, *adapter.trained} <= set(weights):
        raise CheckpointError.of(
            "FX1201", f"{folder / ADAPTER} does not fit its note", expected=f"{len(adapter.names)} tensors",
            found=f"{len(own)}, or others", cure="use another checkpoint",
        )  # fmt: skip
    merged = weights | {path: own[path] for path in adapter.trained}
    for path in adapter.targets:
        weight, (a, b) = weights[path], (own[name] for name in beside(path))
        if (*weight.shape[:-1], a.shape[-2]) != b.shape or weight.shape[-1] != a.shape[-1]:
            raise CheckpointError.of(
                "FX1201", f"{path} and its branch do not fit", expected=f"B A of {list(weight.shape)}",
                found=f"{list(b.shape)} times {list(a.shape)}", cure="use another checkpoint",
            )  # fmt: skip
        merged[path] = LazyTensor(weight.shape, weight.dtype, partial(_sum, weight, a, b, scale=adapter.scale))
    return merged


def _sum(weight: LazyTensor, a: LazyTensor, b: LazyTensor, *, scale: float) -> NDArray[Any]:
    """``W + scale * B A``, in the number format of W."""
    low, high = (np.asarray(each.numpy(), np.float64) for each in (a, b))
    return (np.asarray(weight.numpy(), np.float64) + scale * (high @ low)).astype(DTYPES[weight.dtype])
