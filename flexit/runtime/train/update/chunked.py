"""Cross-entropy and z-loss that keep the logits alone, and make their gradient a few tokens at a time.

Shapes: N tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flexit.runtime.train.update.labels import IGNORED


def cross_entropy_and_z(logits: Tensor, labels: Tensor, *, chunk: int) -> tuple[Tensor, Tensor]:
    """Means over the labels that count of ``log Z - x_label`` and ``(log Z)^2``, with ``Z = sum_v exp(x_v)``.

    Args:
        logits: ``[..., V]``; narrow floats are computed with in fp32.
        labels: ``[...]``, token ids or :data:`IGNORED`.
        chunk: tokens at once.

    Returns:
        Two scalars; not to be differentiated twice.
    """
    loss, z, _ = _Chunked.apply(logits.flatten(0, -2), labels.flatten().long(), chunk)  # pyright: ignore[reportGeneralTypeIssues]
    return loss, z


class _Chunked(torch.autograd.Function):
    """Of tokens in one row: d loss / d x = (softmax(x) - onehot) / n, d z / d x = 2 log Z softmax(x) / n."""

    @staticmethod
    def forward(logits: Tensor, labels: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        counted, rows = _rows(labels)
        log_z: list[Tensor] = []
        chosen: list[Tensor] = []
        for x, label in zip(logits.split(chunk), rows.split(chunk), strict=True):
            exact = _exact(x)
            log_z.append(exact.logsumexp(-1))
            chosen.append(exact.gather(1, label)[:, 0])
        normaliser = torch.cat(log_z)
        loss = (normaliser - torch.cat(chosen))[counted].mean()
        return loss, normaliser[counted].square().mean(), normaliser

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        logits, labels, ctx.chunk = inputs
        ctx.save_for_backward(logits, labels, output[2])
        ctx.mark_non_differentiable(output[2])

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor, of_z: Tensor, *_: Any) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, labels, normaliser = ctx.saved_tensors
        counted, rows = _rows(labels)
        gradient = torch.empty_like(logits)
        share = (counted / counted.sum()).to(normaliser.dtype)
        parts = zip(*(each.split(ctx.chunk) for each in (logits, rows, share, normaliser, gradient)), strict=True)
        for x, label, weight, log_z, out in parts:
            exact = (_exact(x) - log_z[:, None]).exp_()
            exact *= (of_loss + 2 * of_z * log_z)[:, None]
            exact.scatter_add_(1, label, -of_loss.expand_as(label).to(exact.dtype))
            out.copy_(exact.mul_(weight[:, None]))
        return gradient, None, None


def _exact(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype.itemsize < 4 else logits


def _rows(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which labels count, and labels ``[N, 1]`` with 0 in the place of the others."""
    counted = labels != IGNORED
    return counted, labels.where(counted, 0)[:, None]
