"""Memory that runs out in a step: an error that says what to lower, with what each would take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from flexit.errors import FlexitError, ResourceError
from flexit.ir.program import Program
from flexit.lower.torch.memory import available, size
from flexit.runtime.sessions.session import lacks_memory, room_asked
from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.resources.memory import Load, lighter, predicted
from flexit.runtime.train.update.loss import CrossEntropy

ANYWAY = "smaller batches with a higher accumulate, or shorter rows"


@contextmanager
def telling_what_to_lower(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss_fn: object, *, config: TrainingConfig,
    batches: Sequence[Mapping[str, Tensor]], what: str,
) -> Iterator[None]:  # fmt: skip
    """Turn memory that runs out in a block into an error of the user's.

    Args:
        model: what is trained.
        optimizer: over its parameters.
        loss_fn: its loss.
        config: of the trainer.
        batches: that are learned from; none where it is not known, or nothing is learned.
        what: is done, for messages.

    Raises:
        ResourceError: FX1703, with what is predicted now, and with each cure.
    """
    try:
        yield
    except FlexitError:
        raise
    except Exception as error:
        if not lacks_memory(error):
            raise
        program = getattr(model, "program", None)
        load = _load(program, optimizer, loss_fn, config=config, batches=batches)
        raise _error(error, program, load, config=config, what=what, model=model) from error


def _error(
    error: Exception, program: Any, load: Load | None, *, config: TrainingConfig, what: str, model: nn.Module,
) -> ResourceError:  # fmt: skip
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    found = f"{room_asked(error)}; {size(available(device))} free on the machine"
    if load is None or not isinstance(program, Program):
        return ResourceError.of(
            "FX1703", f"{what} needs more memory than there is", expected="memory for a whole batch", found=found,
            cure=f"use {ANYWAY}; the newest checkpoint is as it was",
        )  # fmt: skip
    cures = lighter(program, load, accumulate=config.accumulate)
    now = predicted(program, load)
    told = "; ".join(f"{name} ({size(peak)})" for name, peak in cures if peak < now)
    return ResourceError.of(
        "FX1703", f"{what} needs more memory than there is",
        expected=f"{size(now)} at the peak, as predicted for {load.rows} rows", found=found,
        cure=f"lower one or more: {told or ANYWAY}. The newest checkpoint is as it was",
    )  # fmt: skip


def _load(
    program: Any, optimizer: torch.optim.Optimizer, loss_fn: object, *, config: TrainingConfig,
    batches: Sequence[Mapping[str, Tensor]],
) -> Load | None:  # fmt: skip
    """What the largest of the batches asks for; None where the model is of no program, or they are not its inputs."""
    if not isinstance(program, Program) or not batches:
        return None
    groups = {group.name: group.seq for group in program.groups}
    seq: dict[str, int] = {}
    rows = 0
    for entry in program.inputs:
        for value in (batch[entry.name] for batch in batches if entry.name in batch):
            rows = max(rows, len(value))
            if entry.role in ("ids", "values") and entry.group in groups:
                seq[groups[entry.group]] = max(seq.get(groups[entry.group], 1), value.shape[1])
    if rows == 0 or len(seq) < len(groups):
        return None
    return Load(
        rows, seq, moments_of(optimizer), config.ema is not None, config.recompute,
        whole_loss=not isinstance(loss_fn, CrossEntropy),
    )  # fmt: skip


def moments_of(optimizer: torch.optim.Optimizer) -> int:
    """Numbers that an optimizer keeps for each parameter: as its state shows, or else as its kind is known to."""
    parameters = [each for group in optimizer.param_groups for each in group["params"] if each.requires_grad]
    kept = sum(
        value.numel()
        for slots in optimizer.state.values()
        for value in slots.values()
        if isinstance(value, Tensor) and value.dim()
    )
    if len(optimizer.state) >= len(parameters) > 0:
        return round(kept / sum(each.numel() for each in parameters))
    if isinstance(optimizer, torch.optim.SGD):
        return int(any(group["momentum"] for group in optimizer.param_groups))
    return 0 if isinstance(optimizer, torch.optim.Adafactor) else 2
