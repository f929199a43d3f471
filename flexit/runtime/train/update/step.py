"""One update of the weights: forward and backward over the micro-batches, the norm, the clip, the optimizer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from flexit.errors import UserError
from flexit.runtime.train.arguments import article
from flexit.runtime.train.update.loss import IGNORED, labelled

Batch = Mapping[str, Any]
Autocast = Callable[[], AbstractContextManager[Any]]
Shapes = Mapping[str, tuple[int, ...]]
LossFn = Callable[[Any, Batch], "Tensor | Mapping[str, Tensor]"]
Compute = Callable[[nn.Module, LossFn, Batch], Any]


@dataclass(frozen=True, slots=True)
class Step:
    """What an update did.

    Attributes:
        number: of this update, from 1.
        losses: terms by name, means over the labelled tokens of the update, before it.
        grad_norm: Euclidean norm of all gradients, before clipping; None where fp16 overflowed and nothing moved.
        tokens: labels that counted.
        lr: learning rate of the first parameter group.
        skipped: whether the update was left out, since its loss or gradient was not finite; ``tokens`` is 0 then.
        shapes: of the entries of each of its batches, by name.
    """

    number: int
    losses: Mapping[str, float]
    grad_norm: float | None
    tokens: int
    lr: float
    skipped: bool = False
    shapes: tuple[Shapes, ...] = ()

    @property
    def loss(self) -> float:
        """The sum of all terms."""
        return sum(self.losses.values())


def computed(model: nn.Module, loss_fn: LossFn, batch: Batch) -> Any:
    """What the loss makes of a batch and the outputs for it."""
    return loss_fn(model(**inputs_of(batch, loss_fn)), batch)


def inputs_of(batch: Batch, loss_fn: LossFn) -> dict[str, Any]:
    """What of a batch goes to the model: every entry but ``labels``, by its name."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return inputs | {"aux": True} if getattr(loss_fn, "reads_aux", False) else inputs


def forward(
    model: nn.Module, loss_fn: LossFn, batch: Batch, *, place: str = "a batch", compute: Compute = computed
) -> dict[str, Tensor]:  # fmt: skip
    """Terms of the loss of one batch, by name; a bare tensor is called ``loss``.

    Args:
        model: which gives outputs.
        loss_fn: their loss.
        batch: the inputs of both.
        place: which batch it is, for messages.
        compute: :func:`computed`, or what is compiled of it.

    Raises:
        UserError: FX1704, the model does not take the batch, or the loss is none.
    """
    try:
        terms = compute(model, loss_fn, batch)
    except TypeError:
        _require_names(model, inputs_of(batch, loss_fn), place)
        raise
    except KeyError as error:
        if error.args != ("labels",) or "labels" in batch:
            raise
        raise UserError.of(
            "FX1704", f"{place} has no labels", path="loss_fn", expected="an entry labels, which the loss reads",
            found=", ".join(batch), cure="add labels to the batches, or give a loss_fn that does without",
        ) from error  # fmt: skip
    return _terms(terms, place)


def _require_names(model: nn.Module, inputs: Mapping[str, Any], place: str) -> None:
    """Raise where the entries are not what ``forward`` takes; another cause of the failure is not ours to tell."""
    signature = inspect.signature(model.forward)
    try:
        signature.bind(**inputs)
    except TypeError as error:
        raise UserError.of(
            "FX1704", f"{place} does not fit the model", path="train_dataloader",
            expected=f"entries that forward{signature} takes", found=f"{', '.join(inputs)} ({error})",
            cure="rename or drop entries of the batches; all but labels go to the model",
        ) from error  # fmt: skip


def _terms(given: object, place: str) -> dict[str, Tensor]:
    """What a loss gave, as scalars by name."""
    terms: Mapping[Any, Any] = given if isinstance(given, Mapping) else {"loss": given}
    bad = [name for name, term in terms.items() if not isinstance(term, Tensor) or term.numel() != 1]
    if not terms or bad:
        which = f", named {bad[0]}" if bad and isinstance(given, Mapping) else ""
        raise UserError.of(
            "FX1704", f"the loss of {place} cannot be minimised", path="loss_fn",
            expected="a scalar tensor, or a mapping of names to such",
            found=f"{article(terms[bad[0]])}{which}" if bad else "an empty mapping",
            cure="return the tensor itself, not .item(), as a mean over the labels: .mean()",
        )  # fmt: skip
    return {str(name): term.reshape(()) for name, term in terms.items()}


class NotFinite(UserError):
    """FX1701: a loss or gradient is not finite; no weight was touched.

    Attributes:
        losses: means of the terms.
        first: the first parameter with a bad value or gradient.
        scale: what the loss was multiplied by.
    """

    losses: Mapping[str, float] = MappingProxyType({})
    first: str = ""
    scale: float = 1.0


class Stopped(Exception):
    """An update was left before its end."""


EVERY = slice(None)


def never() -> bool:
    """No reason to stop."""
    return False


def accumulate(
    model: nn.Module, loss_fn: LossFn, batches: Sequence[Batch], *,
    autocast: Autocast = nullcontext, scaler: GradScaler | None = None, stop: Callable[[], bool] = never,
    place: str = "a batch", part: slice = EVERY, compute: Compute = computed,
) -> tuple[dict[str, float], int]:  # fmt: skip
    """Add the gradient of the mean loss over all labelled tokens of all batches.

    Each ``loss_fn`` is a mean over its own batch; weighted by its share of the tokens, the sum is the mean over them
    all.
    A batch without labels adds nothing and is not run.

    Args:
        model: what is trained.
        loss_fn: its loss.
        batches: the micro-batches of one update.
        autocast: the context of the forwards.
        scaler: what multiplies the loss, and so the gradients.
        stop: asked before each micro-batch; where it says yes, the rest is left.
        place: which batches they are, for messages.
        part: which of them are run here; the labels of all of them count.
        compute: :func:`computed`, or what is compiled of it.

    Returns:
        The mean of each term, of which a part of the batches gives a part, and how many labels counted.

    Raises:
        Stopped: ``stop`` said yes.
        UserError: FX1605, no label counts; FX1704, the loss cannot be minimised.
    """
    counts = [labelled(batch) for batch in batches]
    total = sum(counts)
    means: dict[str, float] = {}
    for batch, count in zip(batches[part], counts[part], strict=True):
        if stop():
            raise Stopped
        if count == 0:
            continue
        with autocast():
            terms = forward(model, loss_fn, batch, place=place, compute=compute)
            share = count / total
            loss = torch.stack([term * share for term in terms.values()]).sum()
        _require_gradient(loss, place)
        (loss if scaler is None else scaler.scale(loss)).backward()
        for name, term in terms.items():
            means[name] = means.get(name, 0.0) + float(term.detach()) * share
    if total == 0:
        raise UserError.of(
            "FX1605", f"{place} has nothing to learn from", path="train_dataloader",
            expected=f"at least one label that is not {IGNORED} in each update",
            found=f"none in {len(batches)} {'batch' if len(batches) == 1 else 'batches'}",
            cure="leave out rows whose labels are all ignored, or make updates larger by accumulate",
        )  # fmt: skip
    return means, total


def _require_gradient(loss: Tensor, place: str) -> None:
    if not loss.requires_grad:
        raise UserError.of(
            "FX1704", f"the loss of {place} cannot be minimised", path="loss_fn",
            expected="a tensor computed from the model's outputs", found="one that depends on no parameter that learns",
            cure="leave out .detach(), .item() and torch.no_grad() in loss_fn and forward",
        )  # fmt: skip


class Clip(NamedTuple):
    """Bounds on gradients.

    Attributes:
        norm: largest Euclidean norm of all of them together.
        value: largest magnitude of each number, which is cut first.
    """

    norm: float | None = None
    value: float | None = None


def update(
    model: nn.Module, optimizer: torch.optim.Optimizer, *,
    losses: Mapping[str, float], clip: Clip, number: int, scaler: GradScaler | None = None,
) -> float | None:  # fmt: skip
    """Clip the gradients and let the optimizer step, if every number is finite.

    Args:
        model: whose gradients are there.
        optimizer: over its parameters.
        losses: that they are of.
        clip: bounds.
        number: of the update, for messages.
        scaler: what the loss was multiplied by. Gradients that overflowed move nothing, and lower its factor.

    Returns:
        The norm of the gradients before clipping; None where they overflowed in fp16 and nothing moved.

    Raises:
        NotFinite: FX1701, before any weight is touched; gradients are left for inspection.
    """
    scale = 1.0 if scaler is None else scaler.get_scale()
    if scaler is not None:
        _unscale(model, optimizer, scaler)
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = _norm(parameters)
    grad_norm, sound = float(norm), all(map(math.isfinite, losses.values()))
    if not sound or not math.isfinite(grad_norm):
        if scaler is not None and _lowered(scaler) and sound:
            return None
        raise _not_finite(model, losses, number, scale=scale)
    if clip.value is not None:
        torch.nn.utils.clip_grad_value_(parameters, clip.value)
        norm = _norm(parameters)
    if clip.norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip.norm, norm)
    optimizer.step()
    if scaler is not None:
        scaler.update()
    return grad_norm


def _lowered(scaler: GradScaler) -> bool:
    """Lower the factor after an overflow, unless it is so low that it is not the cause."""
    before = scaler.get_scale()
    scaler.update()
    return 1.0 <= scaler.get_scale() < before


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def _unscale(model: nn.Module, optimizer: torch.optim.Optimizer, scaler: GradScaler) -> None:
    """Take the factor out of every gradient, also of parameters that the optimizer does not move."""
    moved = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    scaler.unscale_(optimizer)
    for parameter in model.parameters():
        if parameter.grad is not None and id(parameter) not in moved:
            parameter.grad.div_(scaler.get_scale())


def _not_finite(model: nn.Module, losses: Mapping[str, float], number: int, *, scale: float) -> NotFinite:
    bad = {name: value for name, value in losses.items() if not math.isfinite(value)}
    what = f"{', '.join(f'{name} = {value}' for name, value in bad.items())}" if bad else "a finite loss"
    first = first_bad(model)
    error = NotFinite.of(
        "FX1701", f"step {number} has a loss or gradient that is not finite; the weights are those before it",
        expected="finite numbers", found=f"{what}; first bad: {first}",
        cure="lower optimizer.lr, add schedule.warmup, or set a smaller clip_norm; the newest checkpoint is untouched",
    )  # fmt: skip
    error.losses, error.first, error.scale = losses, first, scale
    return error


def first_bad(model: nn.Module) -> str:
    """The first parameter, in the model's order, with a value or else a gradient that is not finite."""
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"the values of {name}"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"the gradient of {name}"
    return "no parameter, only the loss itself"
