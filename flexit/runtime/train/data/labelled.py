"""Batches of texts with a label each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from flexit.runtime.train.data.ragged import mask_of, padded
from flexit.runtime.train.data.store import Row

if TYPE_CHECKING:
    from flexit.runtime.train.tasks._reading import Inputs


@dataclass(frozen=True, slots=True)
class Labelled:
    """Batches of texts with a label each: int64 ``[batch]`` for classes, fp32 for numbers."""

    inputs: Inputs

    def __call__(self, rows: Sequence[Row], rng: np.random.Generator) -> dict[str, Tensor]:
        del rng
        labels = np.concatenate([row["labels"] for row in rows])
        exact = labels if labels.dtype.kind == "f" else labels.astype(np.int64)
        return {**texts(self.inputs, rows), "labels": torch.from_numpy(exact)}


def texts(inputs: Inputs, rows: Sequence[Row]) -> dict[str, Tensor]:
    """The inputs of some texts, padded on the right."""
    ids = [row["ids"] for row in rows]
    batch = {inputs.ids: padded(ids, inputs.pad), inputs.mask: mask_of(ids)}
    if inputs.types is not None:
        batch[inputs.types] = padded([row["types"] for row in rows], 0)
    return batch
