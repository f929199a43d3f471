"""A trainer of a small module of no spec: quick, with dropout, buffers that forward writes, and rows that differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.data.loader import Loader
from flexit.runtime.train.data.split import Pieces
from flexit.runtime.train.data.store import Column
from flexit.runtime.train.data.stream import NextTokens, Packing, Stream
from flexit.runtime.train.trainer import Trainer


class Small(nn.Module):
    """Scores of 5 classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def mean_loss(outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(outputs, batch["labels"])


def batches(count: int) -> list[dict[str, Tensor]]:
    """Batches that can be told apart: the first entry of ``x`` is their number."""
    draw = torch.Generator().manual_seed(1)
    made = [
        {"x": torch.randn(2, 3, generator=draw), "labels": torch.randint(0, 5, (2,), generator=draw)}
        for _ in range(count)
    ]
    for number, batch in enumerate(made):
        batch["x"][0, 0] = number
    return made


def trainer(
    loader: Iterable[Any], *callbacks: Callback, loss_fn: Any = mean_loss, held_out: Sequence[Any] | None = None,
    out: Path | None = None, **settings: Any,
) -> Trainer:  # fmt: skip
    """A trainer of a :class:`Small`."""
    model = Small()
    config = {"progress": False, "device": "cpu", "out": None if out is None else str(out)} | settings
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    return Trainer(model, optimizer, loss_fn, loader, held_out, callbacks, TrainingConfig(**config))


def joined(
    tokens: np.ndarray, *, seq_len: int = 10, batch_size: int = 4, seed: int | None = None, what: str = "training"
) -> Loader:
    """Batches of rows of the tokens of one document."""
    column = Column(Path("nowhere"), "uint16", tokens, np.asarray([0, len(tokens)]))
    stream = Stream(column, Pieces(np.asarray([0]), np.asarray([len(tokens)])))
    return Loader(
        NextTokens(stream, seq_len=seq_len, packing=Packing()), batch_size=batch_size, seed=seed, what=what
    )  # fmt: skip
