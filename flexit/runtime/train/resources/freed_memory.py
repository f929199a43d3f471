"""Memory that a step frees stays with the process for the next one."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""Parameters of ``mallopt``: free memory at the end of the heap that is given back, and for blocks that are mappings of
their own, from which size on and how many.
"""
KEEPING = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}
USUAL = {MMAP_MAX: 65536, MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}
"""What the allocator comes to by itself where large blocks are freed."""
NAMES = ("mmap_max", "mmap_threshold", "trim_threshold")


@contextmanager
def keeping_freed_memory(device: torch.device) -> Iterator[None]:
    """While entered, the C library does not give freed memory back to the system; after that, all that is free.

    Otherwise the arrays of each step are new pages, which the system clears one at a time. Does something on a CPU with
    the GNU C library only, and only where the environment leaves these settings of ``mallopt(3)`` open.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc" or is_set():
        yield
        return
    library = ctypes.CDLL(None)
    for parameter, value in KEEPING.items():
        library.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in USUAL.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)


def is_set() -> bool:
    """Whether the environment has any of the settings."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return any(f"MALLOC_{name.upper()}_" in os.environ or f"glibc.malloc.{name}" in tunables for name in NAMES)
