"""Ctrl-C that Python loses while a command imports what it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from flexit.cli.app import run
from tests.interrupts import dropped, in_a_weak_callback


class Module:
    """Stands for a module: its import loses a signal, and its functions note that they were called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        in_a_weak_callback()
        return lambda *_, **__: self.called.append(name)


@pytest.mark.parametrize(
    ("command", "imported"), [(["train", "run.yaml"], "flexit.runtime.train.run"), (["demo"], "flexit.cli.demo")]
)
def test_while_a_command_imports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str], imported: str
) -> None:
    lost, module = dropped(monkeypatch), Module()
    monkeypatch.setitem(sys.modules, imported, module)  # pyright: ignore[reportArgumentType]
    assert run(command) == 130
    assert (lost, module.called) == ([KeyboardInterrupt], [])
    assert capsys.readouterr().err == "interrupted\n"
