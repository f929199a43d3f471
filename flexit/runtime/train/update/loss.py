"""What is minimised: the cross-entropy of the next token, and side terms read from side outputs.

Shapes: B rows, T tokens, V vocabulary, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as fn

from flexit.errors import UserError
from flexit.ir.program import Program
from flexit.lower.torch.module import side_name
from flexit.runtime.train.update.chunked import cross_entropy_and_z, tokens_of_a_piece
from flexit.runtime.train.update.labels import IGNORED

ROUTERS = "router_logits"


class RoutedLoss:
    """A loss with the terms of routers beside it.

    Attributes:
        router_balance: weight of :func:`balance`; averaged over the routers.
        router_z: weight of :func:`z_loss`; averaged over the routers.
        masks: side outputs of routers, each with the entry of a batch that masks its tokens (:func:`router_masks`);
            ``attention_mask`` for those that are not here.
        reads_aux: whether the model must return its side outputs.
    """

    def __init__(
        self, *, router_balance: float = 0.0, router_z: float = 0.0, masks: Mapping[str, str] | None = None
    ) -> None:  # fmt: skip
        self.router_balance = router_balance
        self.router_z = router_z
        self.masks = dict(masks or {})
        self.reads_aux = router_balance > 0 or router_z > 0

    def __call__(self, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Terms by name, whose sum is minimised.

        Args:
            outputs: of the model, with ``aux`` if that was asked for.
            batch: with ``labels``.

        Raises:
            UserError: FX1704, the labels do not fit the outputs.
        """
        terms = self.main(outputs, batch)
        if self.reads_aux:
            routers = [
                (each, batch.get(self.masks.get(name, "attention_mask")))
                for name, some in outputs["aux"].items()
                if name.endswith(ROUTERS)
                for each in some
            ]
            sides = {"router_balance": (self.router_balance, balance), "router_z": (self.router_z, z_loss)}
            for name, (weight, term) in sides.items():
                if weight > 0:
                    each = [term(logits, mask) for logits, mask in routers]
                    terms[name] = weight * torch.stack(each).mean()
        return terms

    def main(self, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The terms without those of routers, means over the labels that count."""
        raise NotImplementedError


class CrossEntropy(RoutedLoss):
    """Mean cross-entropy over the labels that are not :data:`IGNORED`, plus weighted side terms.

    Attributes:
        z_loss: weight of :func:`logit_z_loss`.
        label_smoothing: share of each label that is spread over all classes (Szegedy et al. 2016).
        chunk: tokens of which the cross-entropy is computed at once, or None for as many as are fast; compiled code has
            ways of its own.
    """

    def __init__(
        self, *, router_balance: float = 0.0, router_z: float = 0.0, z_loss: float = 0.0, label_smoothing: float = 0.0,
        chunk: int | None = None, masks: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(router_balance=router_balance, router_z=router_z, masks=masks)
        self.z_loss = z_loss
        self.label_smoothing = label_smoothing
        self.chunk = chunk

    def main(self, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The means over the labels.

        Args:
            outputs: with ``logits [B, T, V]``, or ``[B, V]``.
            batch: with ``labels int64 [B, T]``, or ``[B]``: the class that each row of logits should predict.
        """
        logits, labels = outputs["logits"], batch["labels"]
        _require_labels(logits, labels)
        try:
            loss, z = self._of_logits(logits, labels)
        except (IndexError, RuntimeError) as error:
            if not isinstance(error, IndexError) and "out of bounds" not in str(error):
                raise
            raise beyond(labels, logits.shape[-1]) from error
        return {"loss": loss, "z_loss": self.z_loss * z} if self.z_loss > 0 and z is not None else {"loss": loss}

    def _of_logits(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Cross-entropy and z-loss."""
        if not torch.compiler.is_compiling():
            chunk = self.chunk or tokens_of_a_piece(logits)
            return cross_entropy_and_z(logits, labels, chunk=chunk, smoothing=self.label_smoothing)
        exact = logits.float() if logits.dtype.itemsize < 4 else logits
        loss = fn.cross_entropy(
            exact.flatten(0, -2), labels.flatten().long(), ignore_index=IGNORED, label_smoothing=self.label_smoothing
        )  # fmt: skip
        return loss, logit_z_loss(exact, labels) if self.z_loss > 0 else None


class SquaredError(RoutedLoss):
    """Mean squared error of one number per text, plus weighted side terms."""

    def main(self, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean over the texts.

        Args:
            outputs: with ``logits [B, 1]``.
            batch: with ``labels`` of a floating type ``[B]``.
        """
        logits, labels = outputs["logits"], batch["labels"]
        if logits.shape != (*labels.shape, 1) or not labels.is_floating_point():
            raise _misfit(
                f"numbers of a floating type of shape {list(logits.shape[:-1])}",
                f"{labels.dtype} of shape {list(labels.shape)}", "give one number per text",
            )  # fmt: skip
        return {"loss": fn.mse_loss(logits.squeeze(-1).float(), labels.float())}


class InBatch(RoutedLoss):
    """Mean cross-entropy of which text of a batch belongs to each other one, by the cosines of their vectors.

    InfoNCE (van den Oord et al. 2018, arXiv 1807.03748) within the batch (Gao et al. 2021, arXiv 2104.08821), and the
    weighted side terms.

    Attributes:
        temperature: what cosines are divided by.
    """

    def __init__(
        self, temperature: float, *, router_balance: float = 0.0, router_z: float = 0.0,
        masks: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(router_balance=router_balance, router_z=router_z, masks=masks)
        self.temperature = temperature

    def main(self, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean over the pairs.

        Args:
            outputs: with one vector per text, ``[2 B, D]``: of the texts, then of those that belong to them.
            batch: with ``labels int64 [B]``: the place of each one's other among the others.
        """
        labels = batch["labels"]
        found = [value for value in outputs.values() if isinstance(value, Tensor) and value.dim() == 2]
        if len(found) != 1 or len(found[0]) != 2 * len(labels):
            raise _misfit(
                f"one output of {2 * len(labels)} vectors", f"{len(found)} outputs of vectors", "give pairs of texts"
            )  # fmt: skip
        ones, others = fn.normalize(found[0].float(), dim=-1).chunk(2)
        return {"loss": fn.cross_entropy(ones @ others.T / self.temperature, labels)}


def router_masks(program: Program) -> dict[str, str]:
    """The mask of the tokens that each router of a model reads, by the name of its side output.

    Those of a decoder beside an encoder read the decoder's tokens.
    """
    lengths = {entry.value.dims[1]: entry.group for entry in program.inputs if entry.role in ("ids", "values")}
    masks = {entry.group: entry.name for entry in program.inputs if entry.role == "mask"}
    return {
        name: masks[lengths[value.dims[1]]]
        for path, value in program.root.side.items()
        if (name := side_name(path)).endswith(ROUTERS) and lengths.get(value.dims[1]) in masks
    }


def _require_labels(logits: Tensor, labels: Tensor) -> None:
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise _misfit("labels of an integer type", f"labels of {labels.dtype}", "convert the labels with .long()")
    if labels.shape != logits.shape[:-1]:
        raise _misfit(
            f"labels of shape {list(logits.shape[:-1])}, one per row of logits", f"labels of {list(labels.shape)}",
            "give as many labels as inputs, each the token that comes next",
        )  # fmt: skip


def beyond(labels: Tensor, classes: int) -> UserError:
    """The error of labels that are none of the classes."""
    return _misfit(
        f"token ids from 0 to {classes - 1}, or {IGNORED}", f"ids from {int(labels.min())} to {int(labels.max())}",
        "take labels from the model's own vocabulary",
    )  # fmt: skip


def _misfit(expected: str, found: str, cure: str) -> UserError:
    return UserError.of(
        "FX1704", "the labels do not fit the logits", path="labels", expected=expected, found=found, cure=cure
    )  # fmt: skip


def balance(logits: Tensor, mask: Tensor | None = None, *, top_k: int = 1) -> Tensor:
    """Load-balancing loss of one router: ``E * sum_e f_e P_e`` (Fedus et al. 2021, equations 4 to 6).

    ``f_e`` is the share of tokens that have ``e`` among their ``top_k`` most probable experts, ``P_e`` the mean
    probability of ``e``.

    Args:
        logits: ``[B, T, E]``.
        mask: ``[B, T]``, 0 where a token is padding.
        top_k: 1 as in the paper, whatever a model chooses.

    Returns:
        A scalar: ``top_k`` when balanced, ``E`` when ``top_k`` experts take all.
    """
    probabilities = logits.float().flatten(0, -2).softmax(-1)
    n_experts = probabilities.shape[-1]
    chosen = fn.one_hot(probabilities.topk(top_k).indices, n_experts).sum(-2).float()
    return n_experts * (_mean(chosen, mask) * _mean(probabilities, mask)).sum()


def z_loss(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of ``log(sum_e exp(x_e))^2`` over the tokens of one router (Zoph et al. 2022, ST-MoE, equation 5).

    Args:
        logits: ``[B, T, E]``.
        mask: ``[B, T]``, 0 where a token is padding.
    """
    return _mean(logits.float().flatten(0, -2).logsumexp(-1).square(), mask)


def logit_z_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of ``log(sum_v exp(x_v))^2`` over the tokens whose label counts (Chowdhery et al. 2022, PaLM, section 5).

    Args:
        logits: ``[B, T, V]``.
        labels: ``[B, T]``.
    """
    return _mean(logits.logsumexp(-1).square().flatten(), labels != IGNORED)


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Over the tokens ``[N, ...]`` that a mask shows; of one shape whatever it shows, so that it can be compiled."""
    if mask is None:
        return values.mean(0)
    shown = mask.flatten().bool()
    kept = values.masked_fill(~shown.reshape(-1, *[1] * (values.dim() - 1)), 0.0)
    return kept.sum(0) / shown.sum()


def labelled(batch: Mapping[str, Tensor]) -> int:
    """How many labels of a batch count: those not :data:`IGNORED`; without labels, its rows."""
    labels = batch.get("labels")
    if labels is None:
        return next((len(value) for value in batch.values() if value.dim()), 0)
    if labels.is_floating_point():
        return labels.numel()
    return int((labels != IGNORED).sum())
