"""Losses by class, as FlexiTransformers had them, in the form that trainers here take: ``loss(outputs, batch)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from flexit.class_style import refuse_unknown, refused, require_number
from flexit.errors import UserError
from flexit.models import Generator
from flexit.runtime.train.update.loss import IGNORED

__all__ = ["LabelSmoothing", "LossCompute"]


class LossCompute:
    """A criterion on what a generator makes of hidden states, as a mean over the labels that count.

    Attributes:
        generator: any module from hidden states to scores. With one of a model here (``model.generator``), as with
            None, the scores that the model gives itself are judged: only the type counts, and
            :class:`flexit.train.Trainer` refuses the generator of another model.
        criterion: any function of scores ``[n, classes]`` and labels ``int64 [n]``. Its ``reduction`` says whether what
            it gives is a mean, a sum or a number for each label, and its ``ignore_index`` or ``padding_idx`` which
            label it leaves out: attributes, or keywords of a :class:`functools.partial`.
    """

    def __init__(
        self, generator: Callable[[Tensor], Tensor] | None, criterion: Callable[[Tensor, Tensor], Tensor],
        **unknown: Any,
    ) -> None:  # fmt: skip
        """A loss of the two.

        Raises:
            UserError: FX2001, one of them cannot be called; FX0201, a keyword is unknown.
        """
        refuse_unknown(unknown, ("generator", "criterion"))
        for name, given in (("generator", generator), ("criterion", criterion)):
            if isinstance(given, type) or not (callable(given) or (given is None and name == "generator")):
                raise refused(
                    name, f"{name} cannot be called", expected="a function or a module",
                    found=f"the class {given.__name__}" if isinstance(given, type) else repr(given),
                    cure="write model.generator" if name == "generator" else "write torch.nn.CrossEntropyLoss()",
                )  # fmt: skip
        self.generator = generator
        self.criterion = criterion

    def __call__(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """The mean over the labels of a batch.

        Args:
            outputs: of a model: ``logits [..., classes]``, or ``last_hidden_state`` for a generator of one's own.
            batch: with ``labels int64 [...]``; those that are -100 do not count.

        Raises:
            UserError: FX1704, outputs or labels are not there or do not fit.
        """
        scores, labels = self._scores(outputs), batch["labels"]
        if scores.shape[:-1] != labels.shape:
            raise _misfit(
                f"labels of shape {list(scores.shape[:-1])}, one for each row of scores",
                f"labels of {list(labels.shape)}", "give one label for each row, such as those of flexit.train.Batch",
            )  # fmt: skip
        rows, wanted = scores.flatten(0, -2), labels.flatten().long()
        counted = wanted != IGNORED
        out = [said for name in ("ignore_index", "padding_idx") if (said := _said(self.criterion, name)) is not None]
        if out:
            wanted = wanted.masked_fill(~counted, int(out[0]))
            counted = wanted != int(out[0])
        else:
            rows, wanted = rows[counted], wanted[counted]
        loss = self.criterion(rows, wanted)
        if (_said(self.criterion, "reduction") or "mean") == "mean":
            return loss
        return loss.sum() / counted.sum().clamp(min=1)

    def _scores(self, outputs: Mapping[str, Tensor]) -> Tensor:
        own = self.generator is not None and not isinstance(self.generator, Generator)
        name = "last_hidden_state" if own else "logits"
        if not isinstance(cast("object", outputs), Mapping) or name not in outputs:
            found = ", ".join(outputs) if isinstance(cast("object", outputs), Mapping) else type(outputs).__name__
            raise _misfit(
                f"an output {name}", found, "give a model that has it: an encoder has logits with num_classes alone"
            )
        return outputs[name] if self.generator is None or not own else self.generator(outputs[name])


def _said(criterion: object, name: str) -> Any:
    """What a criterion says under a name, or None."""
    if isinstance(criterion, partial):
        return criterion.keywords[name] if name in criterion.keywords else _said(criterion.func, name)
    return getattr(criterion, name, None)


def _misfit(expected: str, found: str, cure: str) -> UserError:
    return UserError.of(
        "FX1704", "the loss cannot be computed", path="loss_fn", expected=expected, found=found, cure=cure
    )  # fmt: skip


class LabelSmoothing(nn.Module):
    """Cross-entropy with targets that keep ``1 - smoothing`` of their probability (Szegedy et al. 2016); the rest is
    spread over all other tokens but padding.

    Attributes:
        reduction: ``sum``: what it gives is a sum over the labels.
    """

    reduction = "sum"

    def __init__(self, size: int, padding_idx: int, smoothing: float = 0.0, **unknown: Any) -> None:
        """Smoothing over a vocabulary.

        Args:
            size: its tokens.
            padding_idx: the token that pads: never predicted, and no label.
            smoothing: probability that labels lose.
            unknown: other keywords, which are refused.

        Raises:
            UserError: a keyword is unknown or a value is wrong.
        """
        super().__init__()
        refuse_unknown(unknown, ("size", "padding_idx", "smoothing"))
        require_number("size", size, "at least 3: a label, padding and another token", whole=True, least=3)
        require_number("padding_idx", padding_idx, f"a token from 0 to {size - 1}", whole=True, least=0, under=size)
        require_number("smoothing", smoothing, "a probability under 1", least=0, under=1)
        self.size = size
        self.padding_idx = padding_idx
        self.smoothing = smoothing

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """The divergence of scores from smoothed targets (Kullback and Leibler), summed.

        Args:
            x: ``[n, size]``: scores, or logarithms of probabilities.
            target: ``int64 [n]``; where it is ``padding_idx`` nothing is learned.

        Raises:
            UserError: FX2001, there are more or fewer scores than tokens.
        """
        if x.shape[-1] != self.size:
            raise refused(
                "size", "size is not that of the scores", expected=f"scores [n, {self.size}]", found=str(list(x.shape)),
                cure=f"write LabelSmoothing({x.shape[-1]}, ...), if that is the vocabulary",
            )  # fmt: skip
        logs = x.float().log_softmax(-1)
        goal = torch.full_like(logs, self.smoothing / (self.size - 2))
        goal[:, self.padding_idx] = 0
        goal.scatter_(1, target[:, None], 1 - self.smoothing)
        goal = goal * (target != self.padding_idx)[:, None]
        return nn.functional.kl_div(logs, goal, reduction="sum")
