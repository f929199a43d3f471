"""The gradient of an update whose micro-batches are shared out among processes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import gcd

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from flexit.errors import UserError
from flexit.runtime.sessions.session import lacks_memory
from flexit.runtime.train.resources.launch import ProcessEnded
from flexit.runtime.train.saving import random_state
from flexit.runtime.train.update.ranks import Ranks, ended, join
from flexit.runtime.train.update.step import Autocast, Batch, Compute, LossFn, accumulate, computed, never

SEEN = 4096
"""Numbers of each entry of a batch by which processes compare whether they have the same."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a process tells the others of its micro-batches.

    Attributes:
        losses: its part of each term's mean.
        tokens: labels of the whole update.
        learns: for each parameter, whether it has a gradient.
        batches: checksum of all batches of the update.
        failure: what it failed of.
    """

    losses: Mapping[str, float] = field(default_factory=dict[str, float])
    tokens: int = 0
    learns: Sequence[bool] = ()
    batches: int = 0
    failure: Exception | None = None


def shared(
    model: nn.Module, loss_fn: LossFn, batches: Sequence[Batch], *,
    ranks: Ranks, autocast: Autocast = nullcontext, scaler: GradScaler | None = None,
    stop: Callable[[], bool] = never, place: str = "a batch", seed: tuple[int, int] = (0, 0),
    compute: Compute = computed,
) -> tuple[dict[str, float], int]:  # fmt: skip
    """:func:`~flexit.runtime.train.update.step.accumulate`, with the sum over all processes as result in each.

    Args:
        model: what is trained; the same in each process.
        loss_fn: its loss.
        batches: all micro-batches of the update.
        ranks: the processes.
        autocast: the context of the forwards.
        scaler: what multiplies the loss.
        stop: asked before each micro-batch.
        place: which batches they are, for messages.
        seed: of the run, and the number of the update: what processes other than the first one draw from.
        compute: what runs the model and the loss.

    Returns:
        The mean of each term, and how many labels counted.

    Raises:
        UserError: as ``accumulate`` says, whichever process it happened in; FX1712, they have different batches.
        ProcessEnded: another process has ended, or failed otherwise.
    """
    if ranks.count == 1:
        return accumulate(
            model, loss_fn, batches, autocast=autocast, scaler=scaler, stop=stop, place=place, compute=compute
        )  # fmt: skip
    if not ranks.leads:
        words = np.random.SeedSequence([*seed, ranks.rank]).generate_state(2)
        random_state.seed_all(int(words[0]) << 31 | int(words[1]) >> 1)
    parameters, error = list(model.parameters()), None
    try:
        losses, tokens = accumulate(
            model, loss_fn, batches, autocast=autocast, scaler=scaler, part=ranks.part, place=place, compute=compute
        )  # fmt: skip
        _require_dense(parameters)
        report = Report(losses, tokens, [each.grad is not None for each in parameters], _checksum(batches))
    except Exception as raised:  # every process must learn of it
        error, report = raised, Report(failure=_told(ranks.rank, raised))
    reports = ranks.gathered(report)
    if error is not None:
        raise error
    _require_whole(reports, place)
    _add(ranks, model, [any(each) for each in zip(*(one.learns for one in reports), strict=True)])
    means: dict[str, float] = {}
    for name, value in (term for each in reports for term in each.losses.items()):
        means[name] = means.get(name, 0.0) + value
    return means, reports[0].tokens


def _add(ranks: Ranks, model: nn.Module, learns: Sequence[bool]) -> None:
    """Add the gradients of all processes, and take the buffers of the first one."""
    gradients: list[Tensor] = []
    for parameter, wanted in zip(model.parameters(), learns, strict=True):
        if wanted:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    ranks.add(gradients)
    ranks.share(list(model.buffers()))


def _require_whole(reports: Sequence[Report], place: str) -> None:
    """Raise what another process failed of, or where they do not have the same batches."""
    for failure in (each.failure for each in reports):
        if failure is not None:
            raise failure
    if len({each.batches for each in reports}) > 1:
        raise UserError.of(
            "FX1712", f"the processes have different batches: {place}", path="train_dataloader",
            expected="a loader that gives each process all batches, in one order", found="batches that differ",
            cure="seed what shuffles, and leave out samplers that give each process other data: that is done here",
        )  # fmt: skip


def _require_dense(parameters: Sequence[nn.Parameter]) -> None:
    if any(each.grad is not None and each.grad.is_sparse for each in parameters):
        raise UserError.of(
            "FX1527", "sparse gradients cannot be added over several processes", path="model",
            expected="dense gradients", found="a sparse one", cure="build the embedding with sparse=False",
        )  # fmt: skip


def _told(rank: int, error: Exception) -> Exception:
    """What other processes raise in its place: memory that ran out is told there too, with what to lower."""
    if isinstance(error, UserError | ProcessEnded):
        return error
    return torch.OutOfMemoryError(str(error)) if lacks_memory(error) else ended(rank, error)


def _checksum(batches: Sequence[Batch]) -> int:
    """Of the names, shapes and first numbers of all entries."""
    found = 0
    for name, value in (entry for batch in batches for entry in sorted(batch.items())):
        some = value.detach().reshape(-1)[:SEEN].cpu().contiguous().view(torch.uint8)
        found = zlib.crc32(some.numpy().tobytes(), zlib.crc32(f"{name} {tuple(value.shape)}".encode(), found))
    return found


def joined(device: torch.device, *, accumulate: int) -> Ranks:
    """The processes of a run, of which each has as many micro-batches of an update.

    Raises:
        UserError: FX1526, an update cannot be shared out; FX1527, they cannot train together on such devices.
        ProcessEnded: one of them has ended.
    """
    ranks = join(device)
    require_shares(ranks.count, accumulate=accumulate)
    return ranks


def require_shares(count: int, *, accumulate: int, size: int | None = None) -> None:
    """Raise unless the micro-batches of an update can be shared out evenly.

    Args:
        count: processes.
        accumulate: micro-batches of an update.
        size: rows of each, where a run config says so.

    Raises:
        UserError: FX1526, with what to write.
    """
    if accumulate % count == 0:
        return
    times = count // gcd(count, accumulate)
    cure = f"write an accumulate of {accumulate * times} with smaller batches, or start fewer processes"
    if size is not None and size % times == 0:
        cure = (
            f"write batch: {{size: {size // times}, accumulate: {accumulate * times}}}, an update of as many rows, or "
            "start fewer processes"
        )
    raise UserError.of(
        "FX1526", f"{count} processes cannot share an update", path="config.accumulate" if size is None else
        "batch.accumulate", expected=f"a multiple of {count}, the number of processes", found=str(accumulate),
        cure=cure,
    )  # fmt: skip
