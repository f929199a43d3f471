"""Batches that processes of their own make ahead, and a thread receives while the one before is learned from."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset, Sampler

from flexit.runtime.train.resources.asked import NUMBER

LOST = (RuntimeError, OSError, EOFError)
"""What a dead worker becomes in the parent."""
ALIGNED = 16
"""Bytes of the widest number."""
PAUSE = 0.001
"""Seconds until the next batch is asked for, in which the step begins: then PyTorch computes and leaves the interpreter
to the thread, which otherwise takes it from the caller at once.
"""
PATIENCE = 1.0
"""Seconds that an end of the workers is waited for; a batch that takes longer is finished behind the caller's back."""
Entries = list[tuple[str, torch.dtype, tuple[int, ...]]]
"""Name, type and shape of the entries of a batch."""
Key = tuple[int, int]
"""Number of a pass, and of a batch in it."""
Packed = tuple[Key, Tensor, Entries]
"""A batch as it travels: its key, and what :func:`packed` gives."""


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
        self.loader: Iterator[Packed] | None = iter(DataLoader(
            _Keyed(made), batch_size=None, sampler=_Keys(batches, start), num_workers=workers, collate_fn=_as_it_is,
            worker_init_fn=_undisturbed, generator=torch.Generator().manual_seed(0),
            multiprocessing_context="forkserver",
        ))  # fmt: skip
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._given: SimpleQueue[Packed | BaseException] = SimpleQueue()
        self._thread = threading.Thread(
            target=_receive, args=(self.loader, self._asked, self._given), name="batches", daemon=True
        )
        self._thread.start()
        self._asked.put(True)
        self._end = weakref.finalize(self, self._asked.put, False)

    def next(self) -> tuple[Key, dict[str, Tensor]]:
        """The next batch and its key. After an exception, an interrupt among them, this is to be closed.

        Raises:
            RuntimeError, OSError, EOFError: a worker is dead.
        """
        given = self._given.get()
        if isinstance(given, BaseException):
            raise given
        self._asked.put(True)
        key, content, entries = given
        return key, unpacked(content, entries)

    def close(self) -> None:
        """End the workers, each after the batch at hand."""
        self.loader = None
        self._end()
        self._thread.join(PATIENCE)


def _receive(loader: Iterator[Packed], asked: SimpleQueue[bool], given: SimpleQueue[Packed | BaseException]) -> None:
    """Hand over a batch, or what went wrong, as often as asked; the workers end with the last reference to ``loader``,
    which is the one here, so an exception may not keep the frames that it went through.
    """
    while asked.get():
        time.sleep(PAUSE)
        try:
            given.put(next(loader))
        except BaseException as error:
            error.__traceback__ = error.__cause__ = error.__context__ = None
            given.put(error)


class _Keyed(Dataset[Packed]):
    """Batches with their keys, packed."""

    def __init__(self, made: Dataset[dict[str, Tensor]]) -> None:
        self._made = made

    def __getitem__(self, key: Key) -> Packed:
        return key, *packed(self._made[key])


def _as_it_is(batch: Any) -> Any:
    return batch


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
    flat = [value.reshape(-1).contiguous().view(torch.uint8) for value in batch.values()]
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
