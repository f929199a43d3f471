"""Memory that a step frees stays with the process for the next one."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt``: free memory at the end of the heap that is given back, and the size from which on a block
is a mapping of its own.
"""
KEEPING = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: -1}
"""Blocks of 32 MiB or more, which is the highest threshold, are given back all the same: kept, one of them at times
finds its place taken by something small and is put elsewhere, so that the peak is higher by all of it.
"""
USUAL = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}
"""What the allocator comes to by itself where large blocks are freed."""
NAMES = ("mmap_max", "mmap_threshold", "trim_threshold")
EVERY = 100
"""Steps after which what is free is given back all the same."""
_entered: list[Callable[[], None]] = []
"""One entry for each training in this process; several may be nested or in threads."""


@contextmanager
def keeping_freed_memory(device: torch.device) -> Iterator[Callable[[], None]]:
    """While entered, the C library does not give freed memory back to the system, but for the largest blocks; after
    that, all that is free.

    Otherwise the arrays of each step are new pages, which the system clears one at a time. Does something on a CPU with
    the GNU C library only, and only where the environment leaves these settings of ``mallopt(3)`` open.

    Yields:
        What is to be called after each step. The first one makes the state of the optimizer, which comes to lie in the
        middle of what was freed, so that large arrays find no room there and are put elsewhere: the pages that nobody
        will use are given back then, and from time to time.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc" or is_set():
        yield lambda: None
        return
    steps = count()

    def tidy() -> None:
        if next(steps) % EVERY == 0:
            _trim()

    _entered.append(tidy)
    _set(KEEPING)
    try:
        yield tidy
    finally:
        if tidy in _entered:  # not in a child
            _entered.remove(tidy)
        if not _entered:
            _set(USUAL)
            _trim()


def is_set() -> bool:
    """Whether the environment has any of the settings."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return any(f"MALLOC_{name.upper()}_" in os.environ or f"glibc.malloc.{name}" in tunables for name in NAMES)


def _set(values: dict[int, int]) -> None:
    for parameter, value in values.items():
        ctypes.CDLL(None).mallopt(parameter, value)


def _trim() -> None:
    ctypes.CDLL(None).malloc_trim(0)


def _in_a_child() -> None:
    """A forked process, such as a worker of somebody's loader, takes no part in the training."""
    if _entered:
        _entered.clear()
        _set(USUAL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_child)
