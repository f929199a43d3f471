"""Every kind, field and word that a spec can be written with, and which of them a document writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from flexit.ir.block import Block
from flexit.ir.language.annotations import (
    Entry,
    FieldType,
    Flag,
    GroupOf,
    KindOf,
    ListOf,
    MapOf,
    Option,
    Words,
    class_of,
    fields,
)
from flexit.ir.language.kinds import Group, Kind
from flexit.ir.language.written import Node
from flexit.ir.registry import find, names
from flexit.ir.spec import Spec

CARRIED = ("Spec.flexit", "Spec.name", "Spec.description")
"""Fields of the document that say nothing about the model."""


@cache
def vocabulary() -> dict[str, str]:
    """Name -> ``kind``, ``field`` or ``word``.

    A kind is ``Mask.causal``, a field ``Mask.causal.window`` or, in a group, ``Qk.over``, and a word, true and false
    among them, ``Qk.over: head``; null is a word where it says something else than leaving the field out does. What
    every block has (``from``, ``shares``, ``init``) is a field of ``Block``.
    """
    found: dict[str, str] = {}
    for cls in classes():
        if issubclass(cls, Kind):
            found[name_of(cls)] = "kind"
        for entry in fields(cls).values():
            found[_field(cls, entry.name)] = "field"
            found |= dict.fromkeys(_words_of(cls, entry), "word")
    return {name: found[name] for name in sorted(found) if name not in CARRIED}


@cache
def classes() -> tuple[type[Group], ...]:
    """Every kind and group of a spec that is flexit's own."""
    found: list[type[Group]] = []
    waiting: list[type[Group]] = [Spec]
    while waiting:
        cls = waiting.pop()
        if cls not in found:
            found.append(cls)
            waiting += [below for entry in fields(cls).values() for below in _classes(entry.type.options)]
    return tuple(found)


@cache
def classes_of(trait: type[Kind]) -> tuple[type[Kind], ...]:
    """The kinds of a family or trait that are flexit's own, whatever plugins are loaded."""
    found = (find(trait, kind) for kind in names(trait, trait) if ":" not in kind)
    return tuple(cls for cls in found if cls is not None)


def own(trait: type[Kind]) -> list[str]:
    """Their names."""
    return [cls.kind for cls in classes_of(trait)]


def name_of(cls: type[Group]) -> str:
    """What a class is called here."""
    return f"{cls.family}.{cls.kind}" if issubclass(cls, Kind) else cls.__name__


def owner_of(name: str) -> str:
    """The class that a name of the vocabulary belongs to."""
    return name if vocabulary()[name] == "kind" else name.partition(": ")[0].rpartition(".")[0]


@cache
def reach(cls: type[Group]) -> frozenset[str]:
    """The class, its groups and the kinds that its fields ask for, by name; what is below other blocks is theirs."""
    inner = [below for entry in fields(cls).values() if entry.name != "init" for below in _classes(entry.type.options)]
    return frozenset({name_of(cls)}).union(*(reach(below) for below in inner if not issubclass(below, Block)))


def _field(cls: type[Group], name: str) -> str:
    inherited = issubclass(cls, Block) and name in ("from", "shares", "init")
    return f"Block.{name}" if inherited else f"{name_of(cls)}.{name}"


def _words_of(cls: type[Group], entry: Entry) -> Iterator[str]:
    for option in flat(entry.type):
        words = option.words if isinstance(option, Words) else (True, False) if isinstance(option, Flag) else ()
        yield from (_word(cls, entry.name, word) for word in words)
    if entry.type.nullable and entry.default is not None:
        yield _word(cls, entry.name, None)


def _word(cls: type[Group], name: str, word: Any) -> str:
    return f"{name_of(cls)}.{name}: {str(word).lower() if word is None or isinstance(word, bool) else word}"


def flat(type_: FieldType) -> Iterator[Option]:
    """The alternatives of a type, those inside lists and maps too."""
    for option in type_.options:
        inner = option.item if isinstance(option, ListOf) else option.value if isinstance(option, MapOf) else None
        yield from [option] if inner is None else flat(inner)


def _classes(options: Iterable[Option]) -> list[type[Group]]:
    found: list[type[Group]] = []
    for option in options:
        if isinstance(option, GroupOf):
            found.append(option.cls)
        elif isinstance(option, KindOf):
            found += classes_of(option.trait)
        elif isinstance(option, ListOf | MapOf):
            found += _classes((option.item if isinstance(option, ListOf) else option.value).options)
    return found


def written(document: dict[str, Any]) -> set[str]:
    """What of the vocabulary a document writes; overrides count for what they say themselves."""
    return set(_of_class(document, Spec)) & vocabulary().keys()


def written_in(value: Any, trait: type[Kind]) -> set[str]:
    """The same, of a value where a kind stands."""
    return set(_below(value, FieldType((KindOf(trait),))))


def _of_class(value: dict[str, Any], cls: type[Group]) -> Iterator[str]:
    if issubclass(cls, Kind):
        yield name_of(cls)
    known = fields(cls)
    for name, inner in value.items():
        if name in known:
            yield _field(cls, name)
            words = inner if isinstance(inner, list) else inner.values() if isinstance(inner, dict) else [inner]
            yield from (_word(cls, name, word) for word in words if not isinstance(word, dict | list))
            yield from _below(inner, known[name].type)


def _below(value: Any, type_: FieldType) -> Iterator[str]:
    for option in type_.options:
        if isinstance(option, ListOf) and isinstance(value, list):
            yield from (name for inner in value for name in _below(inner, option.item))
        elif isinstance(option, MapOf) and isinstance(value, dict):
            yield from (name for inner in value.values() for name in _below(inner, option.value))
        elif isinstance(option, GroupOf) and isinstance(value, dict):
            yield from _of_class(value, option.cls)
        elif isinstance(option, KindOf):
            mapping = {"kind": value} if isinstance(value, str) else value
            cls = class_of(option, Node(mapping["kind"])) if isinstance(mapping, dict) and "kind" in mapping else None
            if cls is not None:
                yield from _of_class(mapping, cls)
