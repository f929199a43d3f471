"""Space on the disk that a run needs, looked at before its first step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from torch import nn

from flexit.errors import ResourceError
from flexit.files.folder import disk_errors
from flexit.ir.analysis.cost import count_parameters
from flexit.ir.program import Program
from flexit.lower.torch.memory import size
from flexit.runtime.adapters.lora import adapter_in
from flexit.runtime.train.config import Checkpoint, RunConfig
from flexit.runtime.train.resources.room import moments_of
from flexit.runtime.train.saving.checkpoint import learned_of, weights_of
from flexit.runtime.train.saving.saved_steps import checkpoints


def checkpoint_bytes(program: Program, config: RunConfig) -> int:
    """Predicted bytes of one checkpoint: 4 for each weight that is kept, each moment of it and its mean."""
    weights = count_parameters(program)
    moved = weights - sum(param.size for param in program.params() if param.frozen)
    weights = moved if config.lora is not None and not config.lora.full else weights
    return 4 * (weights * (1 if config.ema is None else 2) + config.optimizer.moments * moved)


def start_bytes(program: Program, config: RunConfig, out: Path) -> int:
    """Predicted bytes of the weights that a run takes over from another model, which it writes until it has a
    checkpoint: 4 for each.
    """
    begun = config.weights_from is None or checkpoints(out / "checkpoints")
    return 0 if begun else 4 * count_parameters(program)


def bytes_at_hand(model: nn.Module, optimizer: torch.optim.Optimizer, *, ema: bool) -> int:
    """The same of a model and an optimizer that are there."""
    adapter = adapter_in(model)
    alone = adapter is not None and adapter.base is not None
    weights = sum(value.nbytes for value in (learned_of if alone else weights_of)(model).values())
    moved = sum(each.nbytes for group in optimizer.param_groups for each in group["params"] if each.requires_grad)
    return weights * (2 if ema else 1) + moments_of(optimizer) * moved


def most_at_once(keep: Checkpoint, *, steps: int) -> int:
    """Checkpoints of a run that are on the disk at one time: those that are kept, and the one that is being written."""
    kept = keep.keep_last + keep.keep_best + (steps // keep.keep_every if keep.keep_every is not None else 0)
    return min(-(-steps // keep.every), kept + 1)


def require_disk(
    out: Path, *, each: int, keep: Checkpoint, steps: int, start: int = 0, data: int = 0, allow: bool = False
) -> None:  # fmt: skip
    """Refuse a run whose checkpoints and data the disk has no room for, beside those that are there already.

    Args:
        out: the run folder.
        each: bytes of a checkpoint.
        keep: which are kept.
        steps: of the run.
        start: bytes of first weights that are still to be written.
        data: bytes of data that is still to be encoded.
        allow: start anyway.

    Raises:
        ResourceError: FX1710, with both figures; FX1304, the disk cannot be asked.
    """
    there, count = len(checkpoints(out / "checkpoints")), most_at_once(keep, steps=steps)
    needed = start + data + each * max(1, count - there)
    with disk_errors(out):
        free = shutil.disk_usage(_existing(out)).free
    if allow or needed <= free:
        return
    more = max(1, count - there)
    parts = f"{more} more checkpoints of {size(each)}" if more > 1 else f"one more checkpoint of {size(each)}"
    cures = [
        *(["lower checkpoint.keep_last"] if keep.keep_last > 1 else []),
        *(["lower checkpoint.keep_best"] if keep.keep_best else []),
        *(["raise checkpoint.keep_every"] if keep.keep_every else []),
        "choose another out", "free space",
    ]  # fmt: skip
    raise ResourceError.of(
        "FX1710", "the run needs more space on the disk than there is", path="out",
        expected=f"{size(needed)}: {parts}" + (f", {size(start)} of first weights" if start else "")
        + (f", and {size(data)} of data" if data else ""),
        found=f"{size(free)} free where {out} is",
        cure=f"{', '.join(cures[:-1])}, or {cures[-1]}; or start anyway with --allow-disk",
    )  # fmt: skip


def _existing(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    place = Path(os.path.abspath(folder))
    return next(each for each in (place, *place.parents) if each.exists())
