"""One update of the weights: forward and backward over the micro-batches, the norm, the clip, the optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flexit.errors import UserError
from flexit.runtime.train.loss import labelled

Batch = Mapping[str, Any]
Autocast = Callable[[], AbstractContextManager[Any]]
LossFn = Callable[[Any, Batch], "Tensor | Mapping[str, Tensor]"]


@dataclass(frozen=True, slots=True)
class Step:
    """What an update did.

    Attributes:
        number: of this update, from 1.
        losses: terms by name, means over the labelled tokens of the update, before it.
        grad_norm: Euclidean norm of all gradients, before clipping.
        tokens: labels that counted.
        lr: learning rate of the first parameter group.
    """

    number: int
    losses: Mapping[str, float]
    grad_norm: float
    tokens: int
    lr: float

    @property
    def loss(self) -> float:
        """The sum of all terms."""
        return sum(self.losses.values())


def forward(model: nn.Module, loss_fn: LossFn, batch: Batch) -> dict[str, Tensor]:
    """Terms of the loss of one batch, by name; a bare tensor is called ``loss``.

    Every entry of the batch but ``labels`` goes to the model by its name.
    """
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    if getattr(loss_fn, "reads_aux", False):
        inputs["aux"] = True
    terms = loss_fn(model(**inputs), batch)
    return {"loss": terms} if isinstance(terms, Tensor) else dict(terms)


def accumulate(
    model: nn.Module, loss_fn: LossFn, batches: Sequence[Batch], *, autocast: Autocast = nullcontext
) -> tuple[dict[str, float], int]:
    """Add the gradient of the mean loss over all labelled tokens of all batches.

    Each ``loss_fn`` is a mean over its own batch; weighted by its share of the tokens, the sum is the mean over them
    all.
    A batch without labels adds nothing and is not run.

    Returns:
        The mean of each term, and how many labels counted.
    """
    counts = [labelled(batch) for batch in batches]
    total = sum(counts)
    means: dict[str, float] = {}
    for batch, count in zip(batches, counts, strict=True):
        if count == 0:
            continue
        with autocast():
            terms = forward(model, loss_fn, batch)
            share = count / total
            loss = torch.stack([term * share for term in terms.values()]).sum()
        loss.backward()
        for name, term in terms.items():
            means[name] = means.get(name, 0.0) + float(term.detach()) * share
    return means, total


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    losses: Mapping[str, float],
    clip_norm: float | None,
    number: int,
) -> float:
    """Clip the gradients and let the optimizer step, if every number is finite.

    Returns:
        The norm of the gradients before clipping.

    Raises:
        UserError: FX1701, before any weight is touched; gradients are left for inspection.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    grad_norm = float(norm)
    if not math.isfinite(grad_norm) or not all(map(math.isfinite, losses.values())):
        raise _not_finite(model, losses, number)
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
    optimizer.step()
    return grad_norm


def _not_finite(model: nn.Module, losses: Mapping[str, float], number: int) -> UserError:
    bad = {name: value for name, value in losses.items() if not math.isfinite(value)}
    what = f"{', '.join(f'{name} = {value}' for name, value in bad.items())}" if bad else "a finite loss"
    return UserError.of(
        "FX1701", f"step {number} has a loss or gradient that is not finite; the weights are those before it",
        expected="finite numbers", found=f"{what}; first bad: {first_bad(model)}",
        cure="lower optimizer.lr, add schedule.warmup, or set a smaller clip_norm; the newest checkpoint is untouched",
    )  # fmt: skip


def first_bad(model: nn.Module) -> str:
    """The first parameter, in the model's order, with a value or else a gradient that is not finite."""
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"the values of {name}"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"the gradient of {name}"
    return "no parameter, only the loss itself"
