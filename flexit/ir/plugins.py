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
        UserError: FX1108, there is neither, it fails, or it has no kinds.
    """
    from importlib.metadata import entry_points

    entries = [entry for entry in entry_points(group=GROUP) if entry.name.partition(":")[0] == name]
    before = _others()
    try:
        for entry in entries:
            entry.load()
        if not entries:
            importlib.import_module(name)
    except Exception as error:  # whatever the plugin's own code raises
        raise _refused(f"{name}: {error}", "the plugin cannot be imported") from error
    now = _others()
    if now == before and not any(module == name or module.startswith(f"{name}.") for module in now.values()):
        raise _refused(f"{name}, a module without any", "no plugin: it has no kinds")


def _others() -> dict[tuple[str, str], str]:
    """Family and name of every kind that is known and not our own, and the module that has it."""
    from flexit.ir import registry

    return {key: module for key, module in registry.modules().items() if not module.startswith("flexit.")}


def _refused(found: str, message: str) -> UserError:
    return UserError.of(
        "FX1108", message, path="plugin", found=found,
        expected="a module with classes such as class Mine(Mixer, kind='acme:mine'), or the namespace, acme, of those"
        " that an installed package has",
        cure="install the plugin beside flexit, or correct the name",
    )  # fmt: skip
