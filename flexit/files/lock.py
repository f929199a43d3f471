"""A lock file that names its holder (host, pid, start), so that the lock of a dead process can be taken over."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from flexit.errors import UserError

if sys.platform != "win32":
    import fcntl

_held: set[Path] = set()
"""Locks of this process."""

KEYS = {"host", "pid", "started", "swapping"}
BEGINNING = b'{"host": '
MOST = 4096
"""Bytes that a record may have."""

_SAME_START = 2.0
"""Seconds by which two readings of a process's start may differ."""


@dataclass
class Lock:
    """A held lock.

    Attributes:
        path: the lock file.
        inherited_swap: whether a dead holder had noted that it was swapping folders.
    """

    path: Path
    inherited_swap: bool = False

    def note(self, *, swapping: bool) -> None:
        """Record durably whether folders are being swapped."""
        with _opened(self.path) as handle:
            _write(handle, swapping=swapping)
            os.fsync(handle)


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    host: str
    pid: int
    started: float
    swapping: bool

    @property
    def alive(self) -> bool:
        """Whether it may still be running. Of another host nobody knows, so it is."""
        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def holder_of(path: Path) -> Holder | None:
    """The live holder of a lock file, or None."""
    holder = _written(path)
    return holder if holder is not None and holder.alive else None


def left_swapping(path: Path) -> bool:
    """Whether a lock file says that its holder, dead or alive, was swapping folders."""
    holder = _written(path)
    return holder is not None and holder.swapping


@contextmanager
def hold(path: Path) -> Iterator[Lock]:
    """Hold the lock file ``path`` while the block runs.

    Raises:
        UserError: FX1303, a live process holds it; FX1305, it is no lock of ours.
        OSError: the file cannot be written.
    """
    if path in _held:
        raise _taken(path, Holder(socket.gethostname(), os.getpid(), 0.0, False))
    with _opened(path) as handle:
        data = os.read(handle, MOST)
        if not _ours(data):
            raise _strange(path)
        holder = _parse(data)
        own = holder is not None and (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
        if holder is not None and holder.alive and not own:
            raise _taken(path, holder)
        swapping = holder is not None and holder.swapping
        _write(handle, swapping=swapping)
    _held.add(path)
    try:
        yield Lock(path, inherited_swap=swapping)
    finally:
        _held.discard(path)
        _release(path)


def _release(path: Path) -> None:
    """Remove the file if it is still ours, unless a swap that could not be finished is noted in it."""
    with suppress(UserError), _opened(path) as handle:
        data = os.read(handle, MOST)
        holder = _parse(data)
        if _ours(data) and (holder is None or not holder.swapping):
            path.unlink()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The lock file, made if missing, with nobody else between reading and writing it.

    Raises:
        UserError: FX1305, it is no regular file.
    """
    while True:
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            raise _strange(path)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if sys.platform != "win32":
                fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                current = path.stat().st_ino == os.fstat(handle).st_ino
            except FileNotFoundError:
                current = False
            if current:
                yield handle
                return
        finally:
            os.close(handle)


def _write(handle: int, *, swapping: bool) -> None:
    started = psutil.Process().create_time()
    record = {"host": socket.gethostname(), "pid": os.getpid(), "started": started, "swapping": swapping}
    os.lseek(handle, 0, os.SEEK_SET)
    data = json.dumps(record).encode()
    os.ftruncate(handle, os.write(handle, data))


def _written(path: Path) -> Holder | None:
    """The record in a lock file; None where there is none, or no file of that kind."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return _parse(file.read(MOST))
    except FileNotFoundError:
        return None


def _parse(data: bytes) -> Holder | None:
    """The record in a lock file; None for an empty or torn one, which only a dead writer leaves."""
    try:
        record = json.loads(data)
        if set(record) != KEYS:
            return None
        return Holder(str(record["host"]), int(record["pid"]), float(record["started"]), bool(record["swapping"]))
    except (ValueError, TypeError, RecursionError):
        return None


def _ours(data: bytes) -> bool:
    """Whether these are the bytes of a lock: a whole record, or what a kill or a lost power left of one."""
    if _parse(data) is not None or not data.strip(b"\0"):
        return True
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return len(data) < MOST and data.startswith(BEGINNING[: len(data)])
    return False


def _strange(path: Path) -> UserError:
    return UserError.of(
        "FX1305", f"{path.with_suffix('')} cannot be written: {path.name} is in the way",
        expected=f"no {path.name}, which is used while writing", found=f"{path}, left by someone else",
        cure=f"move {path.name} away, or choose another name",
    )  # fmt: skip


def _taken(path: Path, holder: Holder) -> UserError:
    since = (
        f", which runs since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(holder.started))}"
        if holder.started
        else ""
    )
    return UserError.of(
        "FX1303", f"{path.with_suffix('')} is being written by another process", expected="one writer at a time",
        found=f"process {holder.pid} on {holder.host}{since}",
        cure=f"wait for it, or stop it; if that machine is gone, delete {path}",
    )  # fmt: skip
