"""Memory that a step frees stays with the process for the next one."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""Parameters of ``mallopt``: free memory at the end of the heap that is given back, and for blocks that are mappings of
their own, from which size on and how many.
"""
KEEPING = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}
USUAL = {MMAP_MAX: 65536, MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}
"""What the allocator comes to by itself where large blocks are freed."""
NAMES = ("mmap_max", "mmap_threshold", "trim_threshold")
EVERY = 100
"""Steps after which what is free is given back all the same."""


@contextmanager
def keeping_freed_memory(device: torch.device) -> Iterator[Callable[[], None]]:
    """While entered, the C library does not give freed memory back to the system; after that, all that is free.

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
    library, steps = ctypes.CDLL(None), count()

    def tidy() -> None:
        if next(steps) % EVERY == 0:
            library.malloc_trim(0)

    _set(library, KEEPING)
    try:
        yield tidy
    finally:
        _set(library, USUAL)
        library.malloc_trim(0)


def is_set() -> bool:
    """Whether the environment has any of the settings."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return any(f"MALLOC_{name.upper()}_" in os.environ or f"glibc.malloc.{name}" in tunables for name in NAMES)


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)
