"""What an evaluation sees of a model, batch by batch, as the evidence that metrics read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from flexit.errors import UserError
from flexit.runtime.metric import Evidence, Labels, Likelihood, Numbers, Vectors
from flexit.runtime.train.arguments import article
from flexit.runtime.train.update.labels import IGNORED

if TYPE_CHECKING:
    from flexit.runtime.train.evaluation.judge import Background

Batch = Mapping[str, Any]


class Observer(Protocol):
    """Gathers evidence of one kind."""

    def see(self, outputs: Any, batch: Batch) -> None:
        """Look at what the model gave for a batch."""
        ...

    def evidence(self) -> Any:
        """All that was seen."""
        ...


def observer(evidence: Evidence, model: nn.Module, background: Background | None) -> Observer:
    """What gathers a kind of evidence.

    Args:
        evidence: the kind.
        model: what is looked at.
        background: of the run; needed for ``bytes``, ``tags`` and ``texts``.
    """
    names = () if background is None else tuple(background.setting.labels)
    match evidence:
        case "likelihood":
            return _Likelihood(None)
        case "bytes":
            from flexit.runtime.token_bytes import bytes_of_tokens

            assert background is not None
            return _Likelihood(torch.from_numpy(bytes_of_tokens(background.setting.tokenizer)))
        case "tokens" | "labels" | "tags":
            return _Labels(names)
        case "numbers":
            return _Numbers()
        case "vectors":
            return _Vectors()
        case "texts":
            from flexit.runtime.train.evaluation.decoding import Decoded

            assert background is not None
            return Decoded(model, background)


class _Likelihood:
    """Nats of the labels, and the bytes that they stand for."""

    def __init__(self, n_bytes: Tensor | None) -> None:
        self.table = n_bytes
        self.nats, self.count, self.n_bytes = 0.0, 0, 0

    def see(self, outputs: Any, batch: Batch) -> None:
        logits, labels = _scores(outputs).flatten(0, -2).float(), batch["labels"].flatten().long()
        self.nats += float(fn.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
        counted = labels[labels != IGNORED].cpu()
        self.count += len(counted)
        if self.table is not None:
            self.n_bytes += int(self.table[counted].sum())

    def evidence(self) -> Likelihood:
        return Likelihood(self.nats, self.count, None if self.table is None else self.n_bytes)


class _Labels:
    """The best class of each label, row by row."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.found: list[np.ndarray[Any, Any]] = []
        self.wanted: list[np.ndarray[Any, Any]] = []

    def see(self, outputs: Any, batch: Batch) -> None:
        best, labels = _scores(outputs).argmax(-1).cpu().numpy(), batch["labels"].cpu().numpy()
        for one, other in zip(np.atleast_2d(best), np.atleast_2d(labels), strict=True):
            counts = other != IGNORED
            self.found.append(one[counts].astype(np.int32))
            self.wanted.append(other[counts].astype(np.int32))

    def evidence(self) -> Labels:
        return Labels(self.found, self.wanted, self.names)


class _Numbers:
    """The number of each text."""

    def __init__(self) -> None:
        self.found: list[Tensor] = []
        self.wanted: list[Tensor] = []

    def see(self, outputs: Any, batch: Batch) -> None:
        self.found.append(_scores(outputs).flatten().float().cpu())
        self.wanted.append(batch["labels"].flatten().float().cpu())

    def evidence(self) -> Numbers:
        return Numbers(torch.cat(self.found).numpy(), torch.cat(self.wanted).numpy())


class _Vectors:
    """The vectors of pairs, of which a batch has all first ones before all others."""

    def __init__(self) -> None:
        self.ones: list[Tensor] = []
        self.others: list[Tensor] = []

    def see(self, outputs: Any, batch: Batch) -> None:
        del batch
        found = outputs.values() if isinstance(outputs, Mapping) else [outputs]
        (vectors,) = [value for value in found if isinstance(value, Tensor) and value.dim() == 2]
        ones, others = vectors.float().cpu().chunk(2)
        self.ones.append(ones)
        self.others.append(others)

    def evidence(self) -> Vectors:
        return Vectors(torch.cat(self.ones).numpy(), torch.cat(self.others).numpy())


def _scores(outputs: Any) -> Tensor:
    """The scores among a model's outputs.

    Raises:
        UserError: FX1704, there are none.
    """
    found = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", outputs)
    if not isinstance(found, Tensor):
        raise UserError.of(
            "FX1704", "a metric finds no scores", path="evaluate.metrics",
            expected="outputs that are a tensor, or have logits", found=article(outputs),
            cure="return the scores as logits, or compute the metric in a callback",
        )  # fmt: skip
    return found
