"""What a folder of weights says, read as what it is: a text and arrays from anyone. Nothing of it chooses what runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexit.errors import CheckpointError, SpecError
from flexit.files.folder import recover
from flexit.ir import plugins
from flexit.ir.io.load import check_tree
from flexit.ir.io.places import ADAPTER, SPECS, WEIGHTS, instead_of
from flexit.ir.io.yaml import read
from flexit.ir.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from flexit.lower.torch.module import FlexitModule

MAX_BYTES = 16 * 2**20
"""Of a resolved spec, which says every default."""


def read_spec(folder: Path) -> Spec:
    """The spec of a checkpoint. A plugin that it needs must be imported already.

    Raises:
        CheckpointError: FX1201, the folder is no checkpoint.
        SpecError: the spec is not valid.
    """
    recover(folder)
    if not any((folder / name).is_file() for name in (WEIGHTS, ADAPTER)):
        raise _no_checkpoint(folder, FileNotFoundError(f"no {WEIGHTS}"))
    return spec_in(folder)


def spec_in(folder: Path) -> Spec:
    """The spec in a checkpoint or a bundle. A plugin that it needs must be imported already.

    Raises:
        CheckpointError: FX1201, there is none.
        SpecError: it is not valid.
    """
    path = next((folder / name for name in SPECS if (folder / name).is_file()), folder / SPECS[0])
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _no_checkpoint(folder, error) from error
    with plugins.sealed():
        # --set may have left a variant without a layer, which is no fault then, nor afterwards.
        checked = check_tree(read(text, str(path), max_bytes=MAX_BYTES).as_touched())
    if checked.spec is None or not checked.valid:
        raise SpecError(checked.problems)
    return checked.spec


def load_checkpoint(folder: str | Path) -> FlexitModule:
    """The module of a checkpoint that training or an import wrote, in evaluation mode.

    Args:
        folder: of the checkpoint, such as ``runs/NAME/checkpoints/step-000200``.

    Raises:
        CheckpointError: FX1201, the folder is no checkpoint, or its arrays cannot be read.
        SpecError: its spec is not valid.
        UserError: FX2002, its arrays are others than its spec has.
    """
    from flexit.lower.torch.module import to_torch

    return to_torch(read_spec(Path(folder)), read_weights(Path(folder))).eval()


def read_weights(folder: Path) -> Mapping[str, Tensor]:
    """The arrays of a checkpoint by path; of one with an adapter, the weights with the adapter in them.

    Raises:
        CheckpointError: FX1201, there are none that can be read.
    """
    if (folder / ADAPTER).is_file():
        from flexit.runtime.adapters.folder import read_merged

        return {name: tensor.torch() for name, tensor in read_merged(folder).items()}
    return read_arrays(folder / WEIGHTS)


def read_arrays(file: Path) -> Mapping[str, Tensor]:
    """The arrays in a safetensors file by name.

    Raises:
        CheckpointError: FX1201, there are none that can be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise _no_checkpoint(file.parent, error) from error


def _no_checkpoint(folder: Path, error: Exception) -> CheckpointError:
    found: Any = error.strerror if isinstance(error, OSError) else None
    other = instead_of(folder, "checkpoint")
    return CheckpointError.of(
        "FX1201", f"{folder} is no checkpoint", expected=f"{SPECS[0]} or {SPECS[1]}, and {WEIGHTS}",
        found=str(found or error),
        cure=other or "give the folder of a checkpoint, such as runs/NAME/checkpoints/step-000200",
    )  # fmt: skip
