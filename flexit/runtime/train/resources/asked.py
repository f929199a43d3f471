"""A checkpoint between the regular ones, for machines that are about to go: asked for by a file or by a signal."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

NOW = "CHECKPOINT_NOW"
"""A file of this name in a run folder asks for a checkpoint."""
NUMBER: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""The signal that asks for one, where the platform has it."""
LOOK_EVERY = 0.2
"""Seconds between two looks for the file: a folder may be far away."""


class Asked:
    """Whether a checkpoint was asked for. The signal is heeded between :meth:`watch` and :meth:`leave`."""

    def __init__(self, out: Path | None) -> None:
        self._file = None if out is None else out / NOW
        self._signalled = self._taken = False
        self._next = 0.0
        self._before: Any = None
        self._watches = False

    def watch(self) -> None:
        """Heed the signal from now on, in the main thread."""
        if NUMBER is not None and not self._watches and threading.current_thread() is threading.main_thread():
            self._before, self._watches = signal.signal(NUMBER, self._note), True

    def leave(self) -> None:
        """Let the signal do what it did before."""
        if NUMBER is not None and self._watches:
            signal.signal(NUMBER, self._before)
            self._watches = False

    def __call__(self) -> bool:
        if self._signalled:
            return True
        now = time.monotonic()
        if self._file is None or now < self._next:
            return False
        self._next = now + LOOK_EVERY
        return self._file.exists()

    def taken(self) -> None:
        """A checkpoint begins: what was asked for until now is for it, and what comes while it is written is not."""
        self._signalled = False
        self._taken = self._file is not None and self._file.exists()

    def met(self) -> None:
        """The checkpoint is there."""
        if self._file is not None and self._taken:
            self._file.unlink(missing_ok=True)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._signalled = True
