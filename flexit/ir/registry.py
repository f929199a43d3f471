"""Which kinds exist. A built-in kind is the module of its own name in its family's package, imported when first named;
a plugin's kind (``vendor:kind``) is that of a registered class, for which its plugin may be imported first.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from typing import TYPE_CHECKING

from flexit.errors import FlexitError
from flexit.ir import plugins

if TYPE_CHECKING:
    from flexit.ir.language.kinds import Kind

_kinds: dict[tuple[str, str], type[Kind]] = {}

LATER: dict[str, tuple[str, ...]] = {
    "Block": (
        "conv", "token_shift",
    ),
    "Mixer": ("gated_delta", "mamba2", "rg_lru", "differential"),
    "Norm": ("dynamic_tanh",),
}  # fmt: skip
"""Kinds of the language that this build does not have yet, by family or trait; each is refused as *not yet*."""


def register(cls: type[Kind]) -> None:
    """Make a kind known under its family.

    Raises:
        FlexitError: another class has that name already.
    """
    key = (cls.family, cls.kind)
    known = _kinds.get(key)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise FlexitError(f"{cls.family} kind {cls.kind!r} is defined by {known.__module__} and {cls.__module__}")
    _kinds[key] = cls


def find(family: type[Kind], kind: str) -> type[Kind] | None:
    """The class of ``kind``, or None; looks for a module or an entry point of that name first."""
    key = (family.family, kind)
    if key not in _kinds and ":" in kind:
        plugins.follow(kind)
    elif key not in _kinds and family.package and kind.isidentifier() and not kind.startswith("_"):
        module = f"{family.package}.{kind}"
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module)
    return _kinds.get(key)


def names(family: type[Kind], trait: type[Kind] | None = None) -> list[str]:
    """Names of all built-in and loaded kinds of a family that have ``trait``, sorted."""
    if family.package:
        package = importlib.import_module(family.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{family.package}.{module.name}")
    return sorted(
        kind for (of, kind), cls in _kinds.items() if of == family.family and issubclass(cls, trait or family)
    )


def later(trait: type[Kind]) -> tuple[str, ...]:
    """Kinds that the language has for a family or trait and this build does not have yet."""
    classes = (cls for cls in (trait, *trait.__subclasses__()) if not cls.kind)
    return tuple(kind for cls in classes for kind in LATER.get(cls.__dict__.get("family") or cls.__name__, ()))


def modules() -> dict[tuple[str, str], str]:
    """Family and name of every kind that is known so far, and the module that has it."""
    return {key: cls.__module__ for key, cls in _kinds.items()}


def forget(family: str, kind: str) -> None:
    """Remove a registered kind; for tests and notebooks that define a plugin kind again."""
    _kinds.pop((family, kind), None)
