"""What tables of fields in the pages say, and what the code says of the same fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML

from flexit.ir import registry
from flexit.ir.language.annotations import (
    Entry,
    FieldType,
    Flag,
    GroupOf,
    KindOf,
    ListOf,
    MapOf,
    Number,
    Text,
    Words,
    fields,
)
from flexit.ir.language.describe import bounds
from flexit.ir.language.kinds import Group, Kind

Row = tuple[str, str]


def tables(page: str) -> dict[str, dict[str, Row]]:
    """Bold name -> field -> its type and default, as the page gives them."""
    found: dict[str, dict[str, Row]] = {}
    rows: dict[str, Row] = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 5:
            continue
        if bold := re.fullmatch(r"\*\*(\w+)\*\*", cells[0]):
            rows = found.setdefault(bold[1], {})
        elif field := re.fullmatch(r"`(\w+)`", cells[0]):
            rows[field[1]] = (cells[1], cells[2])
    return found


def documented(document: type[Group]) -> dict[str, type[Group]]:
    """The class behind every bold name of a page: whatever a document may hold, and what these may hold."""
    known: dict[str, type[Group]] = {"document": document}
    waiting: list[type[Group]] = [document]
    while waiting:
        for entry in fields(waiting.pop()).values():
            for cls in below(entry.type):
                name = cls.kind if issubclass(cls, Kind) else cls.__name__
                if name not in known:  # a mixture may hold mixtures
                    waiting.append(cls)
                assert known.setdefault(name, cls) is cls, f"two classes are called {name}"
    return known


def below(type_: FieldType) -> Iterator[type[Group]]:
    """The groups and kinds that a value of a type may be or hold."""
    for option in type_.options:
        match option:
            case GroupOf(cls=cls):
                yield cls
            case KindOf(trait=family):
                yield from (cls for name in registry.names(family) if (cls := registry.find(family, name)))
            case ListOf(item=item) | MapOf(value=item):
                yield from below(item)
            case _:
                pass


def typed(type_: FieldType) -> str:
    """A type in the words of the page."""
    words = [_option(option) for option in type_.options]
    return " or ".join([*words, *(["null"] if type_.nullable else [])])


def _option(option: Any) -> str:
    match option:
        case Number():
            return f"{'int' if option.integer else 'number'}{bounds(option)}"
        case Words(words=words):
            return f"one of {words[0]}" if words == (1,) else ", ".join(map(str, words))
        case GroupOf(cls=cls):
            return cls.__name__
        case KindOf(trait=trait):
            return trait.__name__
        case ListOf(item=item):
            return f"list of {typed(item)}"
        case MapOf(value=value):
            return f"mapping to {typed(value)}"
        case Text():
            return "text"
        case Flag():
            return "bool"
    raise AssertionError(option)


def default(entry: Entry, written: str) -> bool:
    """Whether the page gives the default of a field."""
    if entry.required or entry.inferred:
        return written == ("required" if entry.required else "inferred")
    value = entry.default
    plain = value.kind if isinstance(value, Kind) else {} if isinstance(value, Group) else value
    if isinstance(plain, str):
        return written.strip("`").replace("\\|", "|") == plain
    return YAML(typ="safe").load(written.strip("`")) == plain


def require_the_same(page: str, document: type[Group]) -> None:
    """Every class has its table, none is left over, and every field is there with its type and default."""
    found, classes = tables(page), documented(document)
    assert set(found) == set(classes)
    for name, cls in classes.items():
        known = fields(cls)
        assert list(found[name]) == list(known), name
        for field, entry in known.items():
            type_, written = found[name][field]
            assert type_ == typed(entry.type), f"{name}.{field}"
            assert default(entry, written), f"{name}.{field}: {written} is not {entry.default!r}"
