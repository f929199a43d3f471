"""Examples of one row each, padded on the right to the longest of their batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flexit.runtime.train.data.examples import Examples, Indices
from flexit.runtime.train.data.split import split_rows
from flexit.runtime.train.data.store import AnyColumn, Array, Row, Store

Collate = Callable[[Sequence[Row], np.random.Generator], dict[str, Tensor]]
"""Makes a batch of rows; all chance in it comes from the generator. It may be sent to another process."""


class Ragged(Examples):
    """Rows of a store, a batch made of each handful of them."""

    def __init__(
        self, columns: Mapping[str, AnyColumn], rows: npt.NDArray[np.int64], collate: Collate, *, longest: Sequence[str]
    ) -> None:
        """Some rows.

        Args:
            columns: of the store.
            rows: those that are used.
            collate: makes batches.
            longest: columns whose lengths together are that of an example.
        """
        self._columns = dict(columns)
        self._rows = rows
        self._collate = collate
        self._lengths = np.sum([columns[name].lengths[rows] for name in longest], axis=0)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each example."""
        return self._lengths

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, chosen: Indices) -> Sequence[Row]:
        return [{name: column.row(index) for name, column in self._columns.items()} for index in self._rows[chosen]]

    def collate(self, rows: Sequence[Row], key: tuple[int, ...]) -> dict[str, Tensor]:
        return self._collate(rows, np.random.default_rng(key))


def halves(store: Store, collate: Collate, share: float | None, *, longest: Sequence[str]) -> tuple[Ragged, Ragged]:
    """The rows of a store to train on, and a share of them that is held out."""
    both = split_rows(store.hashes, share, settled=store.settled)
    training, held_out = (Ragged(store.columns, rows, collate, longest=longest) for rows in both)
    return training, held_out


def padded(rows: Sequence[Array], fill: int) -> Tensor:
    """Rows of different lengths as ``int64 [batch, longest]``."""
    width = max(len(row) for row in rows)
    full = np.full((len(rows), width), fill, np.int64)
    for row, values in zip(full, rows, strict=True):
        row[: len(values)] = values
    return torch.from_numpy(full)


def mask_of(rows: Sequence[Array]) -> Tensor:
    """``int64 [batch, longest]``: 1 where a row has a token, 0 where it is padded."""
    return padded([np.ones(len(row), np.int64) for row in rows], 0)
