"""Folders of updates that were not finite: the batch, the weights and the random states, to be run once more."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import flexit
from flexit.errors import CheckpointError
from flexit.files.folder import recover, remove_tree, sweep, writing
from flexit.files.ours import is_ours, strangers
from flexit.runtime.train.failures.examine import Part
from flexit.runtime.train.saving import random_state
from flexit.runtime.train.saving.checkpoint import FAILURE, FAILURES, under

MARKER = FAILURE
KEPT = 3
"""Newest failures of a run that are kept."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A failure as it was kept.

    Attributes:
        folder: where.
        data: JSON data: step, losses, where, and the settings that a replay needs.
        weights: of the model in front of the update.
        parts: entries, random states and buffers of each micro-batch that was kept, in order.
    """

    folder: Path
    data: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    parts: Sequence[tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]]


def write(
    out: Path, *, step: int, data: Mapping[str, Any], weights: Mapping[str, Tensor], parts: Sequence[Part],
    files: Mapping[str, str],
) -> Path:  # fmt: skip
    """Write ``out/failures/step-NNNNNN``, durably, and remove older ones beyond a few.

    Raises:
        ResourceError: FX1304, the disk refused.
    """
    parent = out / FAILURES
    target = parent / f"step-{step:06d}"
    with writing(target, marker=MARKER, force=True) as temporary:
        tensors: dict[str, Tensor] = {}
        for index, part in enumerate(parts):
            tensors |= {f"{index}/batch/{name}": value for name, value in part.batch.items()}
            tensors |= {
                f"{index}/random/{name}": value for name, value in random_state.tensors(part.before.random).items()
            }
            tensors |= {f"{index}/buffers/{name}": value for name, value in part.before.buffers.items()}
        _save(weights, temporary / "model.safetensors")
        _save(tensors, temporary / "batch.safetensors")
        for name, text in files.items():
            (temporary / name).write_text(text, encoding="utf-8")
        written = sorted(path for path in temporary.iterdir() if not path.name.startswith("."))
        kept = [{"number": part.number, "share": part.share, "losses": plain(part.losses)} for part in parts]
        head = {"flexit": flexit.__version__, "step": step, **data, "parts": kept}
        head["files"] = {path.name: _sha256(path) for path in written}
        (temporary / MARKER).write_text(json.dumps(head, indent=1), encoding="utf-8")
    sweep(parent, MARKER)
    for path in recorded(out)[:-KEPT]:
        if path != target and is_ours(path, MARKER) and not strangers(path, MARKER):
            remove_tree(path)
    return target


def plain(losses: Mapping[str, float]) -> dict[str, float | str]:
    """Numbers by name as JSON has them; what is not finite as a text."""
    return {name: value if math.isfinite(value) else str(value) for name, value in losses.items()}


def recorded(out: Path) -> list[Path]:
    """The failures of a run, oldest step first."""
    parent = out / FAILURES
    found = parent.glob("step-*") if parent.is_dir() else []
    named = [(int(path.name[5:]), path) for path in found if path.name[5:].isdigit()]
    return [path for _, path in sorted(named) if path.is_dir()]


def read(folder: Path) -> Recorded:
    """A failure whose files fit their hashes.

    Raises:
        CheckpointError: FX1201, a file is missing or has changed.
    """
    recover(folder)
    try:
        data: Any = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        for name, digest in data["files"].items():
            if _sha256(folder / name) != digest:
                raise ValueError(f"{name} has changed")
        weights, tensors = load_file(folder / "model.safetensors"), load_file(folder / "batch.safetensors")
        count = len(data["parts"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, SafetensorError) as error:
        raise CheckpointError.of(
            "FX1201", f"{folder} is no whole record of a failure", expected="every file as it was written",
            found=str(error), cure="use another one",
        ) from error  # fmt: skip
    kinds = ("batch", "random", "buffers")
    parts = [tuple(under(tensors, f"{index}/{kind}/") for kind in kinds) for index in range(count)]
    return Recorded(folder, data, weights, cast("Any", parts))


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, path)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
