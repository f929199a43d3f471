"""SIGINT where Python drops the ``KeyboardInterrupt`` that it raises, as it does inside of imports."""

from __future__ import annotations

import os
import signal
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Thing:
    """Something to refer to weakly."""


class Ending:
    """What sends the signal as it is destroyed."""

    def __del__(self) -> None:
        interrupt()


def in_a_weak_callback() -> None:
    thing = Thing()
    reference = weakref.ref(thing, lambda _: interrupt())
    del thing
    assert reference() is None


def in_a_destructor() -> None:
    ending = Ending()
    del ending


def dropped(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException]]:
    """What Python drops from now on, instead of printing it."""
    kinds: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: kinds.append(unraisable.exc_type))
    return kinds


def first_losing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function after a SIGINT that is lost."""

    def called(*arguments: Any, **named: Any) -> Any:
        in_a_weak_callback()
        return function(*arguments, **named)

    return called
