"""A failure run once more from its files: the same loss, the same first bad place, and the figures of every block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from flexit.errors import UserError
from flexit.lower.torch.layers import recompute
from flexit.lower.torch.module import to_torch
from flexit.runtime.adapters.folder import NOTE, read_note
from flexit.runtime.adapters.modules import adapted_as
from flexit.runtime.saved import spec_in
from flexit.runtime.train.failures import record
from flexit.runtime.train.failures.examine import in_the_sum
from flexit.runtime.train.failures.losses import made
from flexit.runtime.train.failures.watched import Finding, Trace, first_in_weights, watched
from flexit.runtime.train.resources.device import autocast, pick_device
from flexit.runtime.train.saving import random_state
from flexit.runtime.train.update.step import LossFn


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay.

    Attributes:
        folder: of the failure.
        step: the update that it was.
        first: the first place with a number that is not finite, if one was seen.
        traces: what was seen, by the number of the micro-batch.
        same: whether the losses and the first place, with its figures, are those of the run.
    """

    folder: Path
    step: int
    first: Finding | None
    traces: dict[int, Trace]
    same: bool


def failure_at(path: str | Path) -> Path:
    """The folder of a failure, or of the newest one of a run.

    Raises:
        UserError: FX1711, there is none.
    """
    folder = Path(path)
    if (folder / record.MARKER).is_file():
        return folder
    found = record.recorded(folder)
    if not found:
        raise UserError.of(
            "FX1711", f"{path} holds no failure", path=str(path),
            expected=f"a run folder with {record.FAILURES}, or a folder with {record.MARKER}", found="neither",
            cure="give the folder that the message of FX1701 named; a run in which all was finite has none",
        )  # fmt: skip
    return found[-1]


def replay(path: str | Path, *, model: nn.Module | None = None, loss_fn: LossFn | None = None) -> Replayed:
    """Run a failure once more, on its own device and as many threads.

    Args:
        path: a run folder, whose newest failure it is, or the folder of a failure.
        model: the module, where it was made from no spec; its weights become those of the failure.
        loss_fn: the loss, where it is none of this library.

    Raises:
        UserError: FX1711, there is none, or model or loss are not in its files and were not given.
        CheckpointError: FX1201, a file has changed.
    """
    folder = failure_at(path)
    kept = record.read(folder)
    data, device = kept.data, pick_device(kept.data["device"])
    loss = loss_fn or _loss(data, folder)
    module = _model(kept, model).to(device)
    module.train(data["training"])
    traces: dict[int, Trace] = {}
    first = first_in_weights(module)
    after = random_state.capture()
    try:
        with _threads(data["threads"]):
            for (batch, random, buffers), part in zip(kept.parts, data["parts"], strict=True):
                random_state.restore(random)
                with torch.no_grad():
                    for name, value in buffers.items():
                        module.get_buffer(name).copy_(value)
                trace = watched(
                    module, loss, {name: value.to(device) for name, value in batch.items()}, share=part["share"],
                    scale=data["scale"], autocast=lambda: autocast(device, data["precision"]), everything=True,
                )  # fmt: skip
                traces[part["number"]] = trace
                first = first or trace.first
    finally:
        random_state.restore(after)
    first = first or in_the_sum(module)
    losses = all(part["losses"] == record.plain(traces[part["number"]].losses) for part in data["parts"])
    return Replayed(folder, data["step"], first, traces, losses and _same(data["first"], first))


def _model(kept: record.Recorded, model: nn.Module | None) -> nn.Module:
    if model is not None:
        model.load_state_dict(dict(kept.weights), strict=False)
        return model
    if not (kept.folder / "spec.json").is_file():
        raise _lacking(kept.folder, "model", "the module of the run, which was made from no spec")
    spec = spec_in(kept.folder)
    if (kept.folder / NOTE).is_file():
        module = adapted_as(spec, read_note(kept.folder), kept.weights)
    else:
        module = to_torch(spec, kept.weights)
    if kept.data["recompute"]:
        recompute(module)
    return module


def _loss(data: Any, folder: Path) -> LossFn:
    if data["loss_fn"] is None:
        raise _lacking(folder, "loss_fn", "the loss of the run, which is code of your own")
    return made(data["loss_fn"])


def _lacking(folder: Path, name: str, what: str) -> UserError:
    return UserError.of(
        "FX1711", f"{folder} cannot be run from its files alone", path=name, expected=what, found="nothing",
        cure="call it in Python: from flexit.runtime.train.failures.replay import replay; "
        f"replay({str(folder)!r}, {name}=...)",
    )  # fmt: skip


def _same(before: Any, first: Finding | None) -> bool:
    """Whether a place is the one that was recorded."""
    if before is None or first is None:
        return before is None and first is None
    now = first.data()
    return all(before[key] == now[key] for key in ("where", "path", "numbers"))


def rows(trace: Trace) -> Sequence[Sequence[str]]:
    """The figures of every block as a table, in order of execution, with those of the gradient that reaches it."""
    gradients: dict[str, list[Any]] = {}
    for path, numbers in reversed(trace.gradients):
        gradients.setdefault(path, []).append(numbers)
    table = [("output of", "lowest", "highest", "rms", "not finite", "gradient rms", "not finite")]
    for path, numbers in trace.outputs:
        back = gradients[path].pop(0) if gradients.get(path) else None
        table.append((
            path or "the model", _short(numbers.lowest), _short(numbers.highest), _short(numbers.rms), str(numbers.bad),
            _short(back.rms) if back else "", str(back.bad) if back else "",
        ))  # fmt: skip
    return table


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
