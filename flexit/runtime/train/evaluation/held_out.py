"""The losses over held-out batches: means over all their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from flexit.errors import UserError
from flexit.runtime.modes import evaluating
from flexit.runtime.train.update.batch import prepared
from flexit.runtime.train.update.loss import IGNORED, labelled
from flexit.runtime.train.update.step import LossFn, forward


@torch.no_grad()
def means(
    model: nn.Module, loss_fn: LossFn, batches: Iterable[Any], *,
    device: torch.device, autocast: Callable[[], AbstractContextManager[Any]], after: int,
) -> dict[str, float]:  # fmt: skip
    """The mean of each loss term over the labels of all batches.

    Args:
        model: which is in evaluation mode for it, and then in the mode that it was in.
        loss_fn: a mean over each batch.
        batches: as a loader gives them.
        device: where they go.
        autocast: the context of the forwards.
        after: the step that was the last, for messages.

    Raises:
        UserError: FX1605, no label counts; FX1704, a batch or loss that cannot be used.
    """
    sums: dict[str, float] = {}
    total = seen = 0
    with evaluating(model):
        for given in batches:
            seen += 1
            place = f"batch {seen} of the evaluation after step {after}"
            batch = prepared(given, device, loader="val_dataloader", place=place)
            count = labelled(batch)
            with autocast():
                terms = forward(model, loss_fn, batch, place=place) if count else {}
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term) * count
            total += count
    if total == 0:
        raise UserError.of(
            "FX1605", f"the evaluation after step {after} has no label to judge by", path="val_dataloader",
            expected=f"at least one label that is not {IGNORED}", found=f"none in {seen} batches",
            cure="give held-out rows with labels, by a loader that can be gone through again each time",
        )  # fmt: skip
    return {name: value / total for name, value in sums.items()}
