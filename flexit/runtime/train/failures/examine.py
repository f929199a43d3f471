"""An update that was not finite, run once more to find where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from flexit.runtime.train.failures.before import Before
from flexit.runtime.train.failures.numbers import is_sound, numbers_of
from flexit.runtime.train.failures.watched import Finding, first_in_weights, watched
from flexit.runtime.train.saving import random_state
from flexit.runtime.train.update.loss import labelled
from flexit.runtime.train.update.step import Autocast, Batch, LossFn


@dataclass(frozen=True, slots=True)
class Part:
    """A micro-batch, with all that running it once more needs.

    Attributes:
        number: in the update, from 0.
        batch: its entries.
        share: of the update's labels.
        before: random states and buffers in front of it.
        losses: terms of its loss, once it was run.
    """

    number: int
    batch: Batch
    share: float
    before: Before
    losses: dict[str, float] = field(default_factory=dict[str, float])


def examine(
    model: nn.Module, loss_fn: LossFn, batches: Sequence[Batch], *, before: Before, autocast: Autocast, scale: float
) -> tuple[Finding | None, list[Part]]:
    """Where an update was not finite first.

    Weights, gradients and random states are left as they are; buffers are those in front of the update.

    Args:
        model: with the weights that the update had.
        loss_fn: its loss.
        batches: the micro-batches of the update.
        before: random states and buffers in front of it.
        autocast: the context of forwards.
        scale: factor on the loss.

    Returns:
        The place, or None where it was not seen again; and the micro-batch that shows it, or all where it takes all.
    """
    after = random_state.raw()
    gradients = [parameter.grad for parameter in model.parameters()]
    counts = [labelled(batch) for batch in batches]
    total = max(1, sum(counts))
    parts: list[Part] = []
    try:
        for parameter in model.parameters():
            parameter.grad = None
        before.put_back(model)
        random_state.put_back(before.random)
        for number, (batch, count) in enumerate(zip(batches, counts, strict=True)):
            if count == 0:
                continue
            parts.append(Part(number, batch, count / total, Before.of(model)))
            trace = watched(model, loss_fn, batch, share=count / total, scale=scale, autocast=autocast)
            parts[-1].losses.update(trace.losses)
            if trace.first is not None:
                first = first_in_weights(model) or trace.first
                place = None if first.where == "weights" else number
                return Finding(first.where, first.path, first.what, first.numbers, place), parts[-1:]
        return first_in_weights(model) or in_the_sum(model), parts
    finally:
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        before.put_back(model)
        random_state.put_back(after)


def in_the_sum(model: nn.Module) -> Finding | None:
    """A parameter whose summed gradient is not finite, or else the one with the largest, where the norm is not."""
    found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    for name, gradient in found.items():
        if not is_sound(gradient):
            return Finding("sum", name, f"the sum of the gradients of {name}", numbers_of(gradient))
    if not found or torch.isfinite(torch.nn.utils.get_total_norm(list(found.values()))):
        return None
    name = max(found, key=lambda each: float(found[each].abs().max()))
    what = f"the norm of all gradients, the largest of which is that of {name}"
    return Finding("sum", name, what, numbers_of(found[name]))
