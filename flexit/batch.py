"""Batches by class, as FlexiTransformers had them: sources, targets and labels of one update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from flexit.class_style import refuse_unknown, refused
from flexit.configs import ModelType
from flexit.runtime.train.arguments import article
from flexit.runtime.train.update.loss import IGNORED

__all__ = ["Batch"]


class Batch(Mapping[str, Tensor]):
    """Sources and targets as a model here reads them, with the labels that it learns from.

    It is the mapping that trainers take: ``input_ids``, ``attention_mask``, ``decoder_input_ids``,
    ``decoder_attention_mask`` and ``labels``, as far as there are any.

    Attributes:
        src: ``int64 [batch, seq]``, or None.
        tgt: what a decoder reads, ``int64 [batch, seq - 1]``: all but the last token of each row, or None.
        tgt_y: what it learns to write there: all but the first token, or None.
        src_mask: true where ``src`` is no padding, ``bool [batch, 1, seq]``, or None.
        tgt_mask: the same and causal, ``bool [batch, seq - 1, seq - 1]``, or None.
        ntokens: labels that count.
    """

    def __init__(
        self, src: Tensor | None = None, tgt: Tensor | None = None, labels: Tensor | None = None, *,
        pad: int = 0, model_type: ModelType | None = None, **unknown: Any,
    ) -> None:  # fmt: skip
        """A batch.

        Args:
            src: what an encoder reads.
            tgt: what a decoder writes, from the token that begins it to the one that ends it.
            labels: of an encoder's classes, ``int64 [batch]``, or for a generator of one's own of each of its rows,
                ``int64 [batch, seq]``.
            pad: the token that pads, in both; where it is a label it does not count.
            model_type: of the model; by default what is given says it.
            unknown: other keywords, which are refused.

        Raises:
            UserError: FX2001, what is given does not fit together; FX0201, a keyword is unknown.
        """
        refuse_unknown(unknown, ("src", "tgt", "labels", "pad", "model_type"))
        for name, value in (("src", src), ("tgt", tgt), ("labels", labels)):
            _require_whole(value, name)
        kind: ModelType = "encoder-only" if tgt is None else "decoder-only" if src is None else "encoder-decoder"
        if (model_type or kind) != kind or (src is None and tgt is None) or (labels is not None and tgt is not None):
            given = [name for name, value in (("src", src), ("tgt", tgt), ("labels", labels)) if value is not None]
            raise refused(
                "batch", "the batch does not fit together", found=" and ".join(given) or "nothing",
                expected="src and tgt for an encoder-decoder, tgt alone for a decoder, or src and labels for an encoder"
                + (f"; the model is {model_type}" if model_type else ""),
                cure="give what the model reads",
            )  # fmt: skip
        _require_rows(src=src, tgt=tgt, labels=labels)
        self.src, self.tgt, self.tgt_y = src, None, None
        self.src_mask = None if src is None else (src != pad)[:, None]
        self.tgt_mask = None
        entries: dict[str, Tensor] = {}
        if src is not None:
            entries |= {"input_ids": src, "attention_mask": (src != pad).long()}
        if tgt is not None:
            self.tgt, self.tgt_y = _shifted(tgt)
            seen = self.tgt != pad
            self.tgt_mask = seen[:, None].expand(-1, self.tgt.shape[1], -1).tril()
            names = (
                ("decoder_input_ids", "decoder_attention_mask") if src is not None else ("input_ids", "attention_mask")
            )
            entries |= dict(zip(names, (self.tgt, seen.long()), strict=True))
            labels = self.tgt_y.masked_fill(self.tgt_y == pad, IGNORED)
        if labels is not None:
            entries["labels"] = labels
        self.ntokens = 0 if labels is None else int((labels != IGNORED).sum())
        self._entries = entries

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device, in place."""
        return self._apply(lambda value: value.to(device))

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, in place; what a ``DataLoader(pin_memory=True)`` calls."""
        return self._apply(Tensor.pin_memory)

    def _apply(self, fn: Callable[[Tensor], Tensor]) -> Batch:
        self._entries = {name: fn(value) for name, value in self._entries.items()}
        for name in ("src", "tgt", "tgt_y", "src_mask", "tgt_mask"):
            value: Tensor | None = getattr(self, name)
            setattr(self, name, None if value is None else fn(value))
        return self

    def __getitem__(self, name: str) -> Tensor:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _require_whole(value: object, name: str) -> None:
    if value is not None and (not isinstance(value, Tensor) or value.is_floating_point() or value.dtype == torch.bool):
        raise refused(
            name, f"{name} cannot be read", expected="a tensor of whole numbers",
            found=f"a tensor of {value.dtype}" if isinstance(value, Tensor) else article(value),
            cure="make it a tensor of ids, int64",
        )  # fmt: skip


def _require_rows(*, src: Tensor | None, tgt: Tensor | None, labels: Tensor | None) -> None:
    """Texts are rows of tokens, and whatever there is has as many rows."""
    if src is not None and src.dim() != 2:
        raise refused(
            "src", "src does not fit", expected="[batch, seq]", found=str(list(src.shape)),
            cure="make it a tensor of token ids, one row for each text",
        )  # fmt: skip
    given = {name: value for name, value in (("src", src), ("tgt", tgt), ("labels", labels)) if value is not None}
    if len({tuple(value.shape[:1]) for value in given.values()}) > 1:
        raise refused(
            "batch", "the batch does not fit together", expected=f"as many rows of {' and '.join(given)}",
            found=" and ".join(str(list(value.shape)) for value in given.values()), cure="give one for each text",
        )  # fmt: skip


def _shifted(tgt: Tensor) -> tuple[Tensor, Tensor]:
    if tgt.dim() != 2 or tgt.shape[1] < 2:
        raise refused(
            "tgt", "tgt is too short", expected="[batch, at least 2]: a token to read and one to write",
            found=str(list(tgt.shape)), cure="begin each target with the token that begins texts",
        )  # fmt: skip
    return tgt[:, :-1], tgt[:, 1:]
