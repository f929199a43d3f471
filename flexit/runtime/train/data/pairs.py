"""Batches of sources and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from flexit.runtime.train.data.ragged import mask_of, padded
from flexit.runtime.train.data.store import Row
from flexit.runtime.train.update.loss import IGNORED


@dataclass(frozen=True, slots=True)
class Pairs:
    """Batches of sources and targets; the decoder reads the target one on, from a token that begins it.

    Attributes:
        pad: token id that fills rows of sources.
        start: token id that begins each target, and fills rows of them.
    """

    pad: int
    start: int

    def __call__(self, rows: Sequence[Row], rng: np.random.Generator) -> dict[str, Tensor]:
        del rng
        sources, targets = [row["source"] for row in rows], [row["target"] for row in rows]
        shifted = [np.concatenate([[self.start], target[:-1].astype(np.int64)]) for target in targets]
        return {
            "input_ids": padded(sources, self.pad), "attention_mask": mask_of(sources),
            "decoder_input_ids": padded(shifted, self.start), "decoder_attention_mask": mask_of(targets),
            "labels": padded([target.astype(np.int64) for target in targets], IGNORED),
        }  # fmt: skip
