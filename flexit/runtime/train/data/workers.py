"""Batches that processes of their own make ahead, and a thread receives while the one before is learned from."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset, Sampler

from flexit.runtime.train.resources.asked import NUMBER

LOST = (RuntimeError, OSError, EOFError)
"""What a dead worker becomes in the parent."""
ALIGNED = 8
"""Bytes of the widest number."""
PAUSE = 0.001
"""Seconds until the next batch is asked for, in which the step begins: then PyTorch computes and leaves the interpreter
to the thread, which otherwise takes it from the caller at once.
"""
Entries = list[tuple[str, torch.dtype, tuple[int, ...]]]
"""Name, type and shape of the entries of a batch."""
Key = tuple[int, int]
"""Number of a pass, and of a batch in it."""


class Ahead:
    """Batches from a key on, without end; the random numbers of this process are left alone.

    Each comes as one tensor, since every tensor asks its worker for a handle of shared memory. As arrays they would
    come through a pipe, where a worker that is killed leaves half a message, for whose end the run would wait for ever.
    The worker answers in a millisecond or more: so the next batch is asked for before it is needed.
    """

    def __init__(self, made: Dataset[dict[str, Tensor]], start: Key, *, batches: int, workers: int) -> None:
        """Workers that begin at once.

        Args:
            made: batches by their keys.
            start: the first key.
            batches: in a pass.
            workers: processes.
        """
        self.loader = iter(DataLoader(
            made, batch_size=None, sampler=_Keys(batches, start), num_workers=workers, collate_fn=packed,
            worker_init_fn=_undisturbed, generator=torch.Generator().manual_seed(0),
            multiprocessing_context="forkserver",
        ))  # fmt: skip
        self._thread = ThreadPoolExecutor(1, "batches")
        self._next = self._thread.submit(self._received)

    def next(self) -> dict[str, Tensor]:
        """The next batch.

        Raises:
            RuntimeError, OSError, EOFError: a worker is dead.
        """
        batch = unpacked(*self._next.result())
        self._next = self._thread.submit(self._received)
        return batch

    def _received(self) -> tuple[Tensor, Entries]:
        time.sleep(PAUSE)
        return next(self.loader)


class _Keys(Sampler[Key]):
    """The keys of all batches from one on, without end."""

    def __init__(self, batches: int, start: Key) -> None:
        self._batches = batches
        self._start = start

    def __iter__(self) -> Iterator[Key]:
        number, batch = self._start
        while True:
            yield number, batch
            batch += 1
            if batch == self._batches:
                number, batch = number + 1, 0


def packed(batch: Any) -> tuple[Tensor, Entries]:
    """The bytes of a batch, each entry at a multiple of :data:`ALIGNED`, and what its entries are."""
    entries = [(name, value.dtype, tuple(value.shape)) for name, value in batch.items()]
    flat = [value.reshape(-1).view(torch.uint8) for value in batch.values()]
    return torch.cat([pad(each, (0, -len(each) % ALIGNED)) for each in flat]), entries


def unpacked(content: Tensor, entries: Entries) -> dict[str, Tensor]:
    """The batch that :func:`packed` took apart; its entries are views of ``content``."""
    batch: dict[str, Tensor] = {}
    start = 0
    for name, dtype, shape in entries:
        stop = start + math.prod(shape) * dtype.itemsize
        batch[name] = content[start:stop].view(dtype).reshape(shape)
        start = stop - stop % -ALIGNED
    return batch


def _undisturbed(number: int) -> None:
    """Leave it to the parent what signals mean that reach all processes of a terminal or a job: Ctrl-C ends the step at
    hand, another asks for a checkpoint.
    """
    del number
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if NUMBER is not None:
        signal.signal(NUMBER, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_run, daemon=True).start()


def _end_with_the_run() -> None:
    """Leave when the run is gone, also by a kill: what PyTorch watches is the fork server, which waits for us."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
