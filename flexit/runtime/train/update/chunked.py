"""Cross-entropy and z-loss that keep the logits alone, and make their gradient a few tokens at a time.

Shapes: N tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flexit.runtime.train.update.labels import IGNORED

IN_CACHE, ON_DEVICE = 2**19, 2**25
"""Numbers of a piece, unless it is said: what a processor's cache holds, and what keeps an accelerator busy."""
LEAST = 16


def tokens_of_a_piece(logits: Tensor) -> int:
    """How many tokens at once are fast for logits ``[..., V]``."""
    numbers = IN_CACHE if logits.device.type == "cpu" else ON_DEVICE
    return max(LEAST, numbers // max(1, logits.shape[-1]))


def cross_entropy_and_z(
    logits: Tensor, labels: Tensor, *, chunk: int, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Means over the labels that count of ``log Z - y`` and ``(log Z)^2``, with ``Z = sum_v exp(x_v)`` and
    ``y = (1 - smoothing) x_label + smoothing mean(x)`` (Szegedy et al. 2016, section 7).

    Args:
        logits: ``[..., V]``; narrow floats are computed with in fp32.
        labels: ``[...]``, token ids or :data:`IGNORED`.
        chunk: tokens at once.
        smoothing: share of each label that is spread over all classes.

    Returns:
        Two scalars.
    """
    loss, z, *_ = _Chunked.apply(logits.flatten(0, -2), labels.flatten().long(), chunk, smoothing)  # pyright: ignore[reportGeneralTypeIssues]
    return loss, z


class _Chunked(torch.autograd.Function):
    """Of tokens in one row: d loss / d x = (softmax(x) - (1 - smoothing) onehot - smoothing / V) / n, and
    d z / d x = 2 log Z softmax(x) / n. The largest ``x`` and the logarithm of the sum without it are kept apart, since
    their sum has fewer digits than the loss.
    """

    @staticmethod
    def forward(logits: Tensor, labels: Tensor, *how: Any) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        chunk, smoothing = how
        counted, rows = _rows(labels)
        room = _room(logits, chunk)
        tops, log_sums, means = torch.empty(3, len(logits), dtype=room.dtype, device=logits.device).unbind()
        parts = zip(*(each.split(chunk) for each in (logits, tops, log_sums, means)), strict=True)
        for x, top, log_sum, mean in parts:
            exact = room[: len(x)].copy_(x)
            top.copy_(exact.amax(-1)).masked_fill_(top.isinf(), 0.0)
            if smoothing:
                mean.copy_(exact.mean(-1))
            log_sum.copy_(exact.sub_(top[:, None]).exp_().sum(-1)).log_()
        aim = logits.gather(1, rows)[:, 0].to(room.dtype)
        if smoothing:
            aim = aim.lerp(means, smoothing)
        loss = (log_sums - (aim - tops))[counted].mean()
        return loss, (tops + log_sums)[counted].square().mean(), tops, log_sums

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        logits, labels, ctx.chunk, ctx.smoothing = inputs
        ctx.save_for_backward(logits, labels, *output[2:])
        ctx.mark_non_differentiable(*output[2:])

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor, of_z: Tensor, *_: Any) -> tuple[Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, labels, tops, log_sums = ctx.saved_tensors
        counted, rows = _rows(labels)
        share = counted.to(tops.dtype) / counted.sum()
        if torch.is_grad_enabled():  # somebody differentiates twice
            exact = _exact(logits)
            log_z = exact.logsumexp(-1, keepdim=True)
            onehot = torch.zeros_like(exact).scatter_(1, rows, 1.0)
            aim = onehot.lerp(torch.full_like(exact, 1 / exact.shape[-1]), ctx.smoothing)
            made = exact.softmax(-1) * (of_loss + 2 * of_z * log_z) - of_loss * aim
            return (made * share[:, None]).to(logits.dtype), None, None, None
        gradient = torch.empty_like(logits)
        room = gradient if gradient.dtype == tops.dtype else _room(logits, ctx.chunk)
        parts = zip(*(each.split(ctx.chunk) for each in (logits, rows, share, tops, log_sums, gradient)), strict=True)
        for x, label, weight, top, log_sum, out in parts:
            exact = out if room is gradient else room[: len(x)]
            exact.copy_(x).sub_(top[:, None]).sub_(log_sum[:, None]).exp_()
            exact *= ((of_loss + 2 * of_z * (top + log_sum)) * weight)[:, None]
            of_label = -of_loss * weight[:, None]
            exact.scatter_add_(1, label, (1 - ctx.smoothing) * of_label)
            if ctx.smoothing:
                exact += of_label * (ctx.smoothing / x.shape[-1])
            if exact is not out:
                out.copy_(exact)
        return gradient, None, None, None


def _exact(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype.itemsize < 4 else logits


def _room(logits: Tensor, chunk: int) -> Tensor:
    """Where the numbers of each piece are computed with: made for each anew, they could come to lie side by side."""
    dtype = torch.float32 if logits.dtype.itemsize < 4 else logits.dtype
    return torch.empty(min(chunk, len(logits)), logits.shape[-1], dtype=dtype, device=logits.device)


def _rows(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which labels count, and labels ``[N, 1]`` with 0 in the place of the others."""
    counted = labels != IGNORED
    return counted, labels.where(counted, 0)[:, None]
