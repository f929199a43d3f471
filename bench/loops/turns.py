"""What every loop has in common: the sizes, batches by number, and a step each time that a line comes in.

It imports nothing of flexit: another library of the same import name is measured too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

VOCAB, WIDTH, LAYERS, HEADS, KV_HEADS, D_FF = 8192, 384, 6, 6, 2, 1024
LENGTH = int(os.environ.get("FLEXIT_BENCH_LENGTH", "256"))
BATCH = 2048 // LENGTH
RATE = 1e-4


def tokens(turn: int) -> Tensor:
    """The batch of a turn, ``int64 [BATCH, LENGTH + 1]``."""
    return torch.randint(0, VOCAB, (BATCH, LENGTH + 1), generator=torch.Generator().manual_seed(turn))


def turns() -> Iterator[int]:
    """Numbers of turns as they are asked for."""
    for line in sys.stdin:
        yield int(line)


def tell(**figures: float) -> None:
    """Answer."""
    print(json.dumps(figures), flush=True)


def ready(model: nn.Module) -> None:
    """Say that the model is there, and begin to watch the memory."""
    tell(parameters=sum(parameter.numel() for parameter in model.parameters()))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def memory(name: str) -> int:
    """A figure of this process in bytes: ``VmRSS`` at the moment, ``VmHWM`` at most since :func:`ready`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(name))


def serve(model: nn.Module, logits: Callable[[Tensor], Tensor], *, before: int, compiled: bool = False) -> None:
    """The plain loop: forward, cross-entropy, backward, fused AdamW.

    Args:
        model: what is trained.
        logits: scores of ids.
        before: bytes that the process held before it had a model.
        compiled: run the forward through ``torch.compile``.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    scores = torch.compile(logits) if compiled else logits
    ready(model)
    for turn in turns():
        ids = tokens(turn)
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(scores(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        tell(loss=loss.item(), seconds=time.perf_counter() - began, peak=memory("VmHWM") - before)
