"""Per-layer variation: which overrides each layer gets, and how an override merges into what is written.

The same merge serves ``variants``, ``shares``, ``--set`` and grids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

from flexit.ir.block import Block
from flexit.ir.language.annotations import Entry, FieldType, KindOf, MapOf, class_of, fields
from flexit.ir.language.kinds import Kind
from flexit.ir.language.written import Node

ENTRY = re.compile(r"(?P<name>[a-z][a-z0-9_]*)(\*(?P<times>[1-9][0-9]*))?")
DEFAULT = "default"
MOST_ENTRIES = 100_000
"""Entries that a pattern may have with ``name*N`` written out: as many as a stack may have layers."""
MOST_DIGITS = 9
"""Of a count or an index; whatever has more is past every layer."""
BLOCK = FieldType((KindOf(Block),))


class MergeRefused(Exception):
    """A mapping was merged into a scalar that is no kind (``bias: true``).

    Attributes:
        old, new: what was written, and the mapping.
    """

    def __init__(self, old: Node, new: Node) -> None:
        super().__init__(f"{old.dotted} <- {new.dotted}")
        self.old, self.new = old, new


def merge(old: Node | None, new: Node, type_: FieldType | None = None, *, default: object = None) -> Node:
    """``new`` merged into ``old``.

    A mapping without ``kind`` merges key by key; anything else replaces. A bare kind in ``old`` counts as
    ``{kind: it}``, an absent value as the default if that is a kind; ``null`` and a scalar that is the default as
    ``{}``.

    Args:
        old: what is written, if anything.
        new: the override.
        type_: what the place takes, where it is known.
        default: the value of the place if nothing is written there.

    Raises:
        MergeRefused: a mapping meets a scalar that it cannot extend.
    """
    if not isinstance(new.value, dict) or "kind" in new.value:
        return new
    base = _opened(old, new, type_, default=default)
    known = _known(base, type_)
    for key, value in new.value.items():
        entry = known(key)
        below = (entry.type, entry.default) if isinstance(entry, Entry) else (entry, None)
        base[key] = merge(base.get(key), value, below[0], default=below[1])
    keys = {**(old.keys if old is not None else {}), **new.keys}
    origin = old if old is not None and isinstance(old.value, dict) else new
    touched = new.touched or (old is not None and old.touched)
    return Node(base, origin.path, origin.mark, keys, touched, origin.key)


def _opened(old: Node | None, new: Node, type_: FieldType | None, *, default: object) -> dict[str, Node]:
    """``old`` as a mapping to merge into."""
    takes_kind = type_ is None or any(isinstance(option, KindOf) for option in type_.options)
    if old is None:
        return {"kind": Node(default.kind, new.path, new.mark)} if isinstance(default, Kind) else {}
    if isinstance(old.value, dict):
        return dict(old.value)
    if isinstance(old.value, str) and takes_kind:
        return {"kind": old}
    is_default = old.value == default and isinstance(old.value, bool) == isinstance(default, bool)
    if old.value is None or is_default or (type_ is None and old.value is False):
        return {}
    raise MergeRefused(old, new)


def _known(base: Mapping[str, Node], type_: FieldType | None) -> Callable[[str], Entry | FieldType | None]:
    """What the keys of a mapping are, as far as its type is known."""
    for option in type_.options if type_ is not None else ():
        if isinstance(option, MapOf):
            value = option.value
            return lambda _: value
        cls = class_of(option, base.get("kind"))
        if cls is not None:
            return fields(cls).get
    return lambda _: None


@dataclass(frozen=True, slots=True)
class Choice:
    """What layer i gets: names of variants in the order they merge."""

    names: tuple[str, ...]


def written_out(entry: str | Sequence[str]) -> int:
    """How many entries one of a pattern stands for; one where it is malformed."""
    match = ENTRY.fullmatch(entry) if isinstance(entry, str) else None
    return 1 if match is None else _number(match["times"] or "1")


def _number(digits: str) -> int:
    """A number from a text of digits with or without a sign, or one past every layer where they are too many."""
    shortest = digits.lstrip("-0") or "0"
    size = int(shortest) if len(shortest) <= MOST_DIGITS else 10**MOST_DIGITS
    return -size if digits.startswith("-") else size


def expand_pattern(pattern: Sequence[str | Sequence[str]]) -> list[tuple[str, ...]] | str:
    """Entries of a pattern with ``name*N`` written out, which are few; the offending text if one is malformed."""
    entries: list[tuple[str, ...]] = []
    for entry in pattern:
        if not isinstance(entry, str):
            entries.append(tuple(entry))
            continue
        match = ENTRY.fullmatch(entry)
        if match is None:
            return entry
        entries += [(match["name"],)] * written_out(entry)
    return entries


def layer_indices(key: str, n_layers: int) -> range | None:
    """Layers that a key of ``layers`` hits: an index, or a half-open range with Python's slice rules."""
    if re.fullmatch(r"-?[0-9]+", key):
        index = _number(key) + (n_layers if key.startswith("-") else 0)
        return range(index, index + 1) if 0 <= index < n_layers else range(0)
    parts = key.split(":")
    if len(parts) not in (2, 3) or not all(re.fullmatch(r"-?[0-9]*", part) for part in parts):
        return None
    bounds = [_number(part) if part not in ("", "-") else None for part in parts]
    if len(bounds) == 3 and bounds[2] == 0:
        return None
    return range(n_layers)[slice(*bounds)]


def choices(
    n_layers: int, pattern: Sequence[str | Sequence[str]], layers: Mapping[str, str | Sequence[str]]
) -> tuple[Choice, ...]:
    """The variants of every layer, for a pattern and keys that are well formed; equal choices are one object."""
    cycle = expand_pattern(pattern)
    assert not isinstance(cycle, str), f"{cycle} is no entry of a pattern"
    by_index: dict[int, tuple[str, ...]] = {}
    for key, names in layers.items():
        chosen = (names,) if isinstance(names, str) else tuple(names)
        for index in layer_indices(key, n_layers) or ():
            by_index[index] = chosen
    shared: dict[tuple[str, ...], Choice] = {}
    once = [tuple(name for name in names if name != DEFAULT) for names in cycle]
    found = [shared.setdefault(names, Choice(names)) for names in once] * (n_layers // len(once) + 1)
    for index, more in by_index.items():
        names = found[index].names + more
        found[index] = shared.setdefault(names, Choice(names))
    return tuple(found[:n_layers])


def sure_choices(pattern: Sequence[str | Sequence[str]], variants: Container[str]) -> tuple[Choice, ...]:
    """What the entries of a pattern say that are well formed and name only variants there are."""
    found: list[tuple[str, ...]] = []
    for entry in pattern:
        match = ENTRY.fullmatch(entry) if isinstance(entry, str) else None
        names = tuple(entry) if not isinstance(entry, str) else (match["name"],) if match else ()
        if names and all(name in variants or names == (DEFAULT,) for name in names):
            found.append(tuple(name for name in names if name != DEFAULT))
    return tuple(Choice(names) for names in dict.fromkeys(found))


def vary(layer: Node, variants: Mapping[str, Node], choice: Choice) -> Node:
    """The layer as written with the chosen variants merged in.

    Raises:
        MergeRefused: see :func:`merge`.
    """
    for name in choice.names:
        layer = merge(layer, variants[name], BLOCK)
    return layer
