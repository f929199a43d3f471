"""A spec in ``flexit.Trainer``: ``python by_spec.py SPEC WEIGHTS [compiled|stock_loss]``; others read its weights."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from turns import RATE, memory, ready, tell, tokens, turns

import flexit
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.update.loss import CrossEntropy
from flexit.runtime.train.update.step import Step

FOR_EVER = 10**9


class Loader:
    """Batches as they are asked for."""

    def __init__(self) -> None:
        self.given = 0.0

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for turn in turns():
            ids = tokens(turn)
            self.given = time.perf_counter()
            yield {"input_ids": ids[:, :-1], "labels": ids[:, 1:]}


class Answers(Callback):
    """Says after each step what it took since its batch was given."""

    def __init__(self, loader: Loader, before: int) -> None:
        self.loader, self.before = loader, before

    def after_step(self, trainer: flexit.Trainer, step: Step) -> None:
        del trainer
        took = time.perf_counter() - self.loader.given
        tell(loss=step.loss, seconds=took, peak=memory("VmHWM") - self.before)


def stock_loss(outputs: Mapping[str, Any], batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The cross-entropy of PyTorch."""
    return torch.nn.functional.cross_entropy(outputs["logits"].flatten(0, 1), batch["labels"].flatten())


def main(spec: str, weights: str, mode: str = "eager") -> None:
    """Serve until no more turns come."""
    before = memory("VmRSS")
    model = flexit.to_torch(flexit.load_spec(spec), seed=0)
    if weights != "none":
        save_file({name: value.detach() for name, value in model.named_parameters()}, Path(weights))
    loader = Loader()
    trainer = flexit.Trainer(
        model, torch.optim.AdamW(model.parameters(), lr=RATE, fused=True),
        stock_loss if mode == "stock_loss" else CrossEntropy(), loader, callbacks=[Answers(loader, before)],
        config={
            "clip_norm": None, "progress": False, "device": "cpu", "compile": "whole" if mode == "compiled" else None,
        },
    )  # fmt: skip
    ready(model)
    trainer.fit(steps=FOR_EVER)


if __name__ == "__main__":
    main(*sys.argv[1:])
