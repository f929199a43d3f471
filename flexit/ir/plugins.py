"""Kinds of other packages: imported where a spec of the user's names one, or where the user names the package.

A spec that came with somebody's weights imports nothing: whoever made it does not choose what runs here.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from flexit.errors import UserError

GROUP = "flexit.blocks"
"""Entry point group; an entry's name is a kind (``vendor:kind``), its value the class."""

_sealed: ContextVar[bool] = ContextVar("sealed", default=False)


@contextmanager
def sealed() -> Generator[None]:
    """While this lasts, naming a kind imports no plugin; those already imported are known as ever."""
    token = _sealed.set(True)
    try:
        yield
    finally:
        _sealed.reset(token)


def follow(kind: str) -> None:
    """Import the plugin whose entry point is named ``kind``, if there is one."""
    if _sealed.get():
        return
    from importlib.metadata import entry_points  # costs more than the rest of a check; needed for plugins alone

    for entry in entry_points(group=GROUP):
        if entry.name == kind:
            entry.load()


def load(name: str) -> None:
    """Import every kind of an installed plugin by its namespace (``acme``), or else the module of that name.

    Raises:
        UserError: FX1108, there is neither, or it fails.
    """
    from importlib.metadata import entry_points

    entries = [entry for entry in entry_points(group=GROUP) if entry.name.partition(":")[0] == name]
    try:
        for entry in entries:
            entry.load()
        if not entries:
            importlib.import_module(name)
    except Exception as error:  # whatever the plugin's own code raises
        raise UserError.of(
            "FX1108", "the plugin cannot be imported", path="plugin",
            expected="the namespace of an installed plugin (acme of acme:kind), or a module", found=f"{name}: {error}",
            cure="install it beside flexit, or correct the name",
        ) from error  # fmt: skip
