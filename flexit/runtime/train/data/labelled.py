"""Batches of texts with a label each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flexit.runtime.train.data.inputs import Inputs
from flexit.runtime.train.data.ragged import mask_of, padded
from flexit.runtime.train.data.store import Row
from flexit.runtime.train.update.loss import IGNORED


@dataclass(frozen=True, slots=True)
class Labelled:
    """Batches of texts with a label each: int64 ``[batch]`` for classes, fp32 for numbers."""

    inputs: Inputs

    def __call__(self, rows: Sequence[Row], rng: np.random.Generator) -> dict[str, Tensor]:
        del rng
        labels = np.concatenate([row["labels"] for row in rows])
        exact = labels if labels.dtype.kind == "f" else labels.astype(np.int64)
        return {**texts(self.inputs, rows), "labels": torch.from_numpy(exact)}


@dataclass(frozen=True, slots=True)
class LabelledTokens:
    """Batches of texts with a label for each token, int64 ``[batch, longest]``, IGNORED where a token has none."""

    inputs: Inputs

    def __call__(self, rows: Sequence[Row], rng: np.random.Generator) -> dict[str, Tensor]:
        del rng
        labels = padded([row["labels"].astype(np.int64) for row in rows], IGNORED)
        return {**texts(self.inputs, rows), "labels": labels}


@dataclass(frozen=True, slots=True)
class Paired:
    """Batches of ``2 * batch`` texts, first the ones, then those that belong to them.

    A label for each pair, int64 ``[batch]``, says which of the others belongs to the one.
    """

    inputs: Inputs

    def __call__(self, rows: Sequence[Row], rng: np.random.Generator) -> dict[str, Tensor]:
        del rng
        sides = [
            {name: row[f"{side}.{name}"] for name in ("ids", "types") if f"{side}.{name}" in row}
            for side in ("anchor", "positive")
            for row in rows
        ]
        return {**texts(self.inputs, sides), "labels": torch.arange(len(rows))}


def texts(inputs: Inputs, rows: Sequence[Row]) -> dict[str, Tensor]:
    """The inputs of some texts, padded on the right."""
    ids = [row["ids"] for row in rows]
    batch = {inputs.ids: padded(ids, inputs.pad), inputs.mask: mask_of(ids)}
    if inputs.types is not None:
        batch[inputs.types] = padded([row["types"] for row in rows], 0)
    return batch
