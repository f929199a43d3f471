"""What to write in the place of a name that is none: of a field, of a kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flexit.ir import registry
from flexit.ir.block import Block
from flexit.ir.language.annotations import GroupOf, KindOf, as_slot, fields
from flexit.ir.language.describe import is_usual, legal_kinds, meant_kind
from flexit.ir.language.kinds import Group
from flexit.ir.language.written import Node
from flexit.ir.wording import either, nearest, same, shown


def cure_of_field(cls: type[Group], name: str, *, known: Sequence[str], value: Node | None) -> str:
    """Which field an unknown one is: another name of it, one of a group, a kind that a field takes, or a likeness.

    Args:
        cls: the class that has no such field.
        name: what is written.
        known: the fields that may stand there.
        value: what it is set to.
    """
    meant = same(name, known)
    if meant is not None:
        return f"write {meant}"
    joined, home, taker = _joined(cls, name), _home(cls, name), _taker(cls, name)
    if joined is not None:
        return f"write {joined[0]}: {{{joined[1]}: {'...' if value is None else shown(value.plain())}}}"
    if home is not None:
        return f"write {'it' if home[1] == name else home[1]} under {home[0]}"
    if taker is not None:
        return f"write {taker[0]}: {taker[1]}, with its fields if any"
    near = nearest(name, known)
    return f"write {near}" if near else "delete it, or write one of these fields"


def _joined(cls: type[Group], name: str) -> tuple[str, str] | None:
    """The group and its field that are written as one name, such as ``batch_size``."""
    for field, entry in fields(cls).items():
        for option in entry.type.options:
            rest = name.removeprefix(f"{field}_")
            if isinstance(option, GroupOf) and rest != name and rest in fields(option.cls):
                return field, rest
    return None


def _taker(cls: type[Group], name: str) -> tuple[str, str] | None:
    """The field that takes the kind which is written in the place of a field, and the kind."""
    for field, entry in as_slot(cls).items():
        for option in entry.type.options:
            if isinstance(option, KindOf) and option.trait is not Block:
                meant = meant_kind(name, option.trait)
                if name in legal_kinds(option.trait) or meant is not None:
                    return field, meant[0] if meant is not None else name
    return None


def _home(cls: type[Group], name: str) -> tuple[str, str] | None:
    """The field of the class inside of which one of this or that name stands, and that name; a group before a kind."""
    groups, kinds = list[tuple[str, str]](), list[tuple[str, str]]()
    for field, entry in fields(cls).items():
        for option in entry.type.options:
            if isinstance(option, GroupOf) and (inner := same(name, fields(option.cls))) is not None:
                groups.append((field, inner))
            if isinstance(option, KindOf) and option.trait is not Block:
                classes = (registry.find(option.trait, kind) for kind in legal_kinds(option.trait))
                found = (same(name, as_slot(each)) for each in classes if each is not None)
                inner = next((inner for inner in found if inner is not None), None)
                kinds += [] if inner is None else [(field, inner)]
    one = kinds[0] if len(kinds) == 1 else None
    return groups[0] if groups else one


def cure_of_kind(kind: str, trait: type[Any]) -> str:
    """Which kind an unknown one is: by another name of it, a field elsewhere, or a likeness."""
    meant = meant_kind(kind, trait)
    if meant is not None:
        return f"write {meant[0]}{f', with {meant[1]}' if meant[1] else ''}"
    near = nearest(kind, legal_kinds(trait))
    homes = [] if near else _kinds_with(kind)
    if homes:
        return f"write {homes[0][0]} as a field of {either(name for _, name in homes)}"
    return f"write {near}" if near else "write one of them"


def _kinds_with(word: str) -> list[tuple[str, str]]:
    """The field of this or that name, and the kinds that have it, where few have."""
    found: list[tuple[str, str]] = []
    for kind in sorted(legal_kinds(Block), key=lambda name: not is_usual(Block, name)):
        cls = registry.find(Block, kind)
        field = same(word, as_slot(cls)) if cls is not None else None
        if field is not None:
            found.append((field, kind))
    return found if len(found) <= 2 else []
