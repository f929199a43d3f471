"""What a path to a model leads to: a checkpoint, the newest one of a run, or another library's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flexit.convert.pretrained import from_pretrained
from flexit.convert.sources.safetensors import read_safetensors
from flexit.convert.sources.source import is_source
from flexit.errors import UserError
from flexit.files.folder import recover
from flexit.ir.io.places import ADAPTER, CARRIED, WEIGHTS, found_at, instead_of
from flexit.ir.spec import Spec
from flexit.runtime.adapters.folder import is_adapter, read_merged
from flexit.runtime.saved import read_spec


def checkpoint_at(path: str) -> Path | None:
    """The checkpoint that a folder is, or the newest one of the run that it is; None if it is neither.

    Raises:
        CheckpointError: a damaged checkpoint, or a run whose checkpoints are all damaged.
    """
    from flexit.runtime.train.saving.checkpoint import newest_whole, require_whole

    folder = Path(path)
    recover(folder)
    if any((folder / name).is_file() for name in (WEIGHTS, ADAPTER)) and not is_source(path):
        require_whole(folder)
        return folder
    newest = newest_whole(folder / "checkpoints") if (folder / "checkpoints").is_dir() else None
    return None if newest is None else newest[0]


def weights_at(path: str) -> tuple[Spec, Mapping[str, Any], dict[str, bytes]]:
    """The spec, the weights and the files beside of a checkpoint or run, or of another library's checkpoint; weights
    are read when they are asked for.

    Raises:
        UserError: it is none of these.
    """
    if is_source(path):
        model = from_pretrained(path)
        return model.spec, model.weights, dict(model.files)
    checkpoint = checkpoint_at(path)
    if checkpoint is None:
        cure = instead_of(path, "model")
        raise no_model(path, "a run folder, a checkpoint folder, or a folder of another library", cure)
    files = {name: (checkpoint / name).read_bytes() for name in CARRIED if (checkpoint / name).is_file()}
    weights = read_merged(checkpoint) if is_adapter(checkpoint) else read_safetensors(checkpoint, WEIGHTS)
    return read_spec(checkpoint), weights, files


def no_model(path: str, legal: str, cure: str | None) -> UserError:
    """FX1201, for a path that leads to no model."""
    return UserError.of(
        "FX1201", f"{path} holds no model", expected=legal, found=found_at(path), path=path,
        cure=cure or "give the folder that flexit train wrote, such as runs/tiny",
    )  # fmt: skip
