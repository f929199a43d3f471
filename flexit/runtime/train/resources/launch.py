"""How a process was started: alone, or by ``torchrun`` as one of several. Nothing here needs PyTorch."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from flexit.errors import FlexitError, UserError

NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What ``torchrun`` puts into the environment of each process."""
PATIENCE = 10.0
"""Seconds that a process which fails leaves the first one, so that only that one tells why."""

BRIEF = 1.0
"""The same where another process has ended: each tells that, but the first one has a note to write as well."""


class ProcessEnded(FlexitError):
    """Another process of the run has ended, so that this one cannot go on. The run goes on from its checkpoint."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a process was started as.

    Attributes:
        count: processes of the run.
        rank: number of this one, from 0.
        local: its number on its machine.
        beside: processes on its machine.
    """

    count: int = 1
    rank: int = 0
    local: int = 0
    beside: int = 1


def launched(environment: Mapping[str, str] = os.environ) -> Launch:
    """What this process was started as; alone where the environment does not say otherwise.

    Raises:
        UserError: FX1527, the environment has something else than numbers in the place of them.
    """
    if any(name not in environment for name in NEEDED) or environment["WORLD_SIZE"] == "1":
        return Launch()
    count, rank = _number("WORLD_SIZE", environment, 1), _number("RANK", environment, 0)
    local, beside = _number("LOCAL_RANK", environment, rank), _number("LOCAL_WORLD_SIZE", environment, count)
    return Launch(count, rank, local, beside)


def _number(name: str, environment: Mapping[str, str], usual: int) -> int:
    found = environment.get(name, str(usual))
    if not (found.isascii() and found.isdigit()):
        raise UserError.of(
            "FX1527", "the environment does not say which process this is", path=name, expected="a number",
            found=repr(found), cure="start it by torchrun, or unset RANK and WORLD_SIZE",
        )  # fmt: skip
    return int(found)


def require_alone(what: str) -> None:
    """Raise where there are several processes.

    Raises:
        UserError: FX1527.
    """
    count = launched().count
    if count > 1:
        raise UserError.of(
            "FX1527", f"{what} does not work in several processes", expected="one process", found=f"{count} processes",
            cure="start it without torchrun",
        )  # fmt: skip


@contextmanager
def one_voice() -> Iterator[None]:
    """A block of a command that several processes run: what they all fail of is told by the first one alone.

    ``torchrun`` ends all processes as soon as one has failed, so the others leave the first one time to tell.

    Raises:
        ProcessEnded: another process has ended.
        SystemExit: 2, it failed as the first one did.
        UserError: it failed, and the first one did not.
    """
    leads = launched().rank == 0
    try:
        yield
    except ProcessEnded:
        if not leads:
            _was_ended(BRIEF)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of torchrun; it ends by itself, with a line and a code
        raise
    except UserError:
        if not leads and _was_ended(PATIENCE):
            raise SystemExit(2) from None
        raise


@contextmanager
def outliving() -> Iterator[None]:
    """A block of one of several processes that ends by itself when another one has ended, and what is after it too.

    ``torchrun`` asks all processes to end then, which could come before the end is noted. What the block does about
    signals while it works is its own matter. Does nothing outside the main thread.

    Raises:
        ProcessEnded: another process has ended. From here on SIGTERM is ignored.
    """
    if launched().count == 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    after = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    except ProcessEnded:
        after = signal.SIG_IGN
        raise
    finally:
        signal.signal(signal.SIGTERM, after)


def _was_ended(seconds: float) -> bool:
    """Whether a signal asks this process to end before the time is over."""
    ended = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        del number, frame
        ended = True

    if threading.current_thread() is not threading.main_thread():
        return False
    before = signal.signal(signal.SIGTERM, note)
    until = time.monotonic() + seconds
    while not ended and time.monotonic() < until:
        time.sleep(0.05)
    signal.signal(signal.SIGTERM, before)
    return ended
