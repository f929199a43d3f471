"""Documents joined to one stream of tokens and cut into rows of one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flexit.runtime.train.data.examples import Examples, Indices
from flexit.runtime.train.data.split import Pieces, split_tokens
from flexit.runtime.train.data.store import AnyColumn, Store
from flexit.runtime.train.update.loss import IGNORED

Numbers = npt.NDArray[np.int64]
Cut = tuple[Numbers, Numbers]
"""A row: its tokens, and the number of the document of each."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How documents share a row.

    Attributes:
        documents: the input that says which document a token is of, where documents are kept apart.
        positions: the input of positions, which then count anew in each document, where the model has one.
    """

    documents: str | None = None
    positions: str | None = None

    def inputs(self, documents: Numbers) -> dict[str, Tensor]:
        """What keeps the documents of rows apart.

        Args:
            documents: number of the document of each token, ``[batch, seq_len]``.
        """
        found: dict[str, Tensor] = {}
        if self.documents is not None:
            found[self.documents] = torch.from_numpy(documents - documents[:, :1])
        if self.positions is not None:
            found[self.positions] = torch.from_numpy(_counted(documents))
        return found


class Stream:
    """Tokens of documents, one document after the other.

    Attributes:
        n_tokens: how many.
    """

    def __init__(self, tokens: AnyColumn, pieces: Pieces) -> None:
        """A stream.

        Args:
            tokens: of all documents.
            pieces: the documents in order, as parts of the values of ``tokens``.
        """
        self._tokens = tokens
        self._ends = np.cumsum(pieces.lengths)
        self._shifts = pieces.starts - (self._ends - pieces.lengths)
        self.n_tokens = int(self._ends[-1]) if len(self._ends) else 0

    def rows(self, starts: Numbers, width: int) -> list[Cut]:
        """What :meth:`cut` gives, row by row."""
        return list(zip(*self.cut(starts, width), strict=True))

    def cut(self, starts: Numbers, width: int) -> tuple[Numbers, Numbers]:
        """Rows of tokens, and the number of each one's document, both ``[batch, width]``.

        Args:
            starts: where each row begins.
            width: tokens per row.
        """
        places = starts[:, None] + np.arange(width)[None, :]
        document = np.searchsorted(self._ends, places, side="right")
        return self._tokens.take(places + self._shifts[document]), document


def blocks(rows: Sequence[Cut]) -> tuple[Numbers, Numbers]:
    """Rows as two arrays ``[batch, width]``, which are nobody else's."""
    tokens, documents = zip(*rows, strict=True)
    return np.stack(tokens), np.stack(documents)


def streams(store: Store, share: float | None) -> tuple[Stream, Stream]:
    """The documents of a store to train on, and those that are held out, a share of all tokens."""
    tokens = store.columns["ids"]
    both = split_tokens(tokens, store.hashes, share, settled=store.settled)
    training, held_out = (Stream(tokens, pieces) for pieces in both)
    return training, held_out


class NextTokens(Examples):
    """Rows ``{"input_ids", "labels"}``, each int64 ``[batch, seq_len]``; labels are one on.

    Rows overlap in one token. Where documents are kept apart, the first token of a document is no label.
    """

    def __init__(self, stream: Stream, *, seq_len: int, packing: Packing) -> None:
        self._stream = stream
        self._seq_len = seq_len
        self._packing = packing

    def __len__(self) -> int:
        return max(0, self._stream.n_tokens - 1) // self._seq_len

    def rows(self, chosen: Indices) -> Sequence[Cut]:
        return self._stream.rows(chosen * self._seq_len, self._seq_len + 1)

    def collate(self, rows: Sequence[Cut], key: tuple[int, ...]) -> dict[str, Tensor]:
        del key
        block, documents = blocks(rows)
        labels = block[:, 1:].copy()
        if self._packing.documents is not None:
            labels[documents[:, 1:] != documents[:, :-1]] = IGNORED
        return {
            "input_ids": torch.from_numpy(block[:, :-1].copy()), "labels": torch.from_numpy(labels),
            **self._packing.inputs(documents[:, :-1]),
        }  # fmt: skip


def _counted(documents: Numbers) -> Numbers:
    """Tokens of the same document that stand before each one in its row, ``[batch, seq_len]``."""
    slots = np.broadcast_to(np.arange(documents.shape[1]), documents.shape)
    new = np.ones_like(documents, dtype=bool)
    new[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return slots - np.maximum.accumulate(np.where(new, slots, 0), axis=1)
