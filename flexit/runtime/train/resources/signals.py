"""SIGINT and SIGTERM end a run after the step at hand; a second one ends it at once. Around it, no SIGINT is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """While entered, remembers the first signal instead of dying of it. Does nothing outside the main thread.

    Attributes:
        received: name of the signal that came, if one did.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in WATCHED:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = signal.Signals(number).name
        self._put_back()  # the second one does what it did before

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class _Noting:
    """The handler of SIGINT that it takes the place of, which notes that it was called."""

    def __init__(self, before: Any) -> None:
        self.before = before
        self.called = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.called = True
        self.before(number, frame)


@contextmanager
def interruptible() -> Iterator[None]:
    """A block or function that SIGINT ends as a ``KeyboardInterrupt``: at once, or else at its end.

    Python drops an exception that is raised in a destructor or in the callback of a weak reference, which every import
    has, and goes on; others catch it and raise one of their own. Does nothing outside the main thread, nor where a
    handler of the user's own, or none, is in place.

    Raises:
        KeyboardInterrupt: SIGINT came.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None
    if before is not signal.default_int_handler and not isinstance(before, _Noting):
        yield
        return
    handler = _Noting(before)
    signal.signal(signal.SIGINT, handler)
    cause: Exception | None = None
    try:
        yield
    except Exception as error:
        if not handler.called:
            raise
        cause = error
    finally:
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, before)
    if handler.called:
        raise KeyboardInterrupt from cause
