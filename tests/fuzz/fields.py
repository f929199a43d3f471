"""Values against the types of the rulebook (codes FX02xx), values with their defaults written out, and merging."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from tests.fuzz.rulebook import GROUPS, KINDS, TRAITS, Entry, Field, entry_of, kinds_of

Data = dict[str, Any]
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
SLOT_ONLY = ("from", "shares")
MODULE_WORDS = ("forward", "train", "half", "type", "to", "eval", "float", "cpu", "apply", "modules", "parameters")
"""Some of the names that a PyTorch module has; the generator draws bad names from these alone."""


class MergeRefused(Exception):
    """A mapping met a scalar that it cannot be merged into (FX0607)."""


# ---- faults


def faults(types: tuple[str, ...], value: Any, *, named: bool = False) -> Iterator[str]:
    """Codes that may be reported for a value of a field; none if it is right."""
    found: list[str] = []
    for option in types:
        codes = list(_option(option, value, named))
        if not codes:
            return
        found += codes
    yield from ("FX0208",) if value is None else found


def _option(option: str, value: Any, named: bool) -> Iterator[str]:
    if option in ("edges", "template", "override"):
        yield from _unread(option, value)
    elif option in GROUPS:
        yield from group_faults(GROUPS[option], value) if isinstance(value, dict) else ["FX0205"]
    elif option in TRAITS:
        yield from kind_faults(option, value, named=named)
    elif option.startswith(("list(", "set(", "map(")):
        yield from _collection(option, value)
    elif option in ("int", "float") or option.startswith(("int>", "float>", "float(", "float[")):
        yield from _number(option, value)
    elif option == "null":
        yield from () if value is None else ("FX0205",)
    elif option == "bool":
        yield from () if isinstance(value, bool) else ("FX0205",)
    elif option == "text":
        yield from () if isinstance(value, str) else ("FX0205",)
    elif not (value == option or (option.isdigit() and value == int(option) and not isinstance(value, bool))):
        yield from ("FX0207",) if isinstance(value, str | int | float) and not isinstance(value, bool) else ("FX0205",)


def _unread(option: str, value: Any) -> Iterator[str]:
    """Edges, layers and overrides: their text is looked at where it means something."""
    legal = (str, list, dict) if option == "edges" else (str, dict)
    if not isinstance(value, legal) or (isinstance(value, list) and not all(isinstance(edge, str) for edge in value)):
        yield "FX0205"


def _number(option: str, value: Any) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int if option.startswith("int") else int | float):
        yield "FX0205"
        return
    sign, low, interval = _bounds(option)
    wrong = (sign == ">=" and value < float(low)) or (sign == ">" and value <= float(low))
    wrong = wrong or (interval is not None and not (0 <= value < 1)) or (interval == "(" and value == 0)
    if wrong:
        yield from ("FX0206", "FX0205")


@cache
def _bounds(option: str) -> tuple[str | None, ...]:
    """``>=`` or ``>``, the number after it, and how an interval begins."""
    bound = re.fullmatch(r"(?:int|float)(?:(>=|>)([0-9.]+)|([\[(])0,1\))?", option)
    assert bound is not None
    return bound.groups()


def _collection(option: str, value: Any) -> Iterator[str]:
    kind, inner = option[:-1].split("(", 1)
    if not isinstance(value, dict if kind == "map" else list):
        yield "FX0205"
        return
    if kind == "set":
        words = inner.split(",")
        known = [word for word in value if word in words]
        if len(known) < len(value) or len(set(map(str, value))) < len(value) or not value:
            yield from ("FX0207", "FX0205")
        return
    if inner == "Block" and not value:
        yield "FX0202"
    for name, entry in value.items() if kind == "map" else [("", one) for one in value]:
        if inner in ("Block", "Input") and not good_name(name):
            yield "FX0209"
        yield from faults(tuple(inner.split("|", 1)) if "(" in inner else tuple(inner.split("|")), entry, named=True)


def good_name(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and not keyword.iskeyword(name) and name not in MODULE_WORDS


def kind_faults(trait: str, value: Any, *, named: bool) -> Iterator[str]:
    """Codes for what stands where a kind with a trait is wanted."""
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, dict):
        yield "FX0205"
    elif "kind" not in value:
        yield "FX0202"
    elif not isinstance(value["kind"], str):
        yield "FX0205"
    elif value["kind"] not in KINDS:
        yield "FX0203"
    elif value["kind"] not in kinds_of(trait):
        yield "FX0204"
    else:
        yield from group_faults(entry_of(trait, value["kind"]), value, named=named)


def group_faults(entry: Entry, value: Data, *, named: bool = False) -> Iterator[str]:
    """Codes for a mapping of the fields of a kind or group."""
    unknown = () if named or not entry.ports else SLOT_ONLY
    for name, given in value.items():
        field = entry.fields.get(name)
        if field is not None and name not in unknown:
            yield from faults(field.types, given)
        elif name != "kind" or not entry.traits:
            yield "FX0201"
    yield from ("FX0202" for name in entry.required if name not in value and name not in unknown)


# ---- defaults


def complete(value: Any, types: tuple[str, ...]) -> Any:
    """A right value with every default written; what is inferred or absent is None. Layers and scopes stay."""
    if isinstance(value, str):
        return value if TRAITS.isdisjoint(types) else _completed_word(value, types)
    return _completed(value, types) if isinstance(value, dict) else value


@cache
def _completed_word(value: str, types: tuple[str, ...]) -> Any:
    """What a word completes to; not to be changed."""
    return _completed(value, types)


def _completed(value: Data | str, types: tuple[str, ...]) -> Any:
    option = next((option for option in types if not any(_option(option, value, True))), "null")
    if option in GROUPS:
        return filled(GROUPS[option], value)
    if option in TRAITS:
        mapping = {"kind": value} if isinstance(value, str) else value
        return {"kind": mapping["kind"], **filled(entry_of(option, mapping["kind"]), mapping)}
    if option.startswith("map(") and option != "map(Block)":
        return {name: complete(entry, tuple(option[4:-1].split("|"))) for name, entry in value.items()}
    return value


def filled(entry: Entry, value: Data) -> Data:
    """A mapping with every field."""
    return {name: complete(value.get(name, f.default), f.types) for name, f in entry.fields.items()}


# ---- merging


def merged(
    old: Any, new: Any, types: tuple[str, ...] = ("Block",), default: Any = None, *, absent: bool = False
) -> Any:
    """``new`` merged into ``old``, which may be absent.

    Raises:
        MergeRefused: a mapping meets a scalar that it cannot extend.
    """
    if not isinstance(new, dict) or "kind" in new:
        return new
    base = _opened(old, types, default, absent)
    field_of = _fields_of(base, types)
    for name, entry in new.items():
        field = field_of(name)
        base[name] = merged(base.get(name), entry, field.types, field.default, absent=name not in base)
    return base


def _opened(old: Any, types: tuple[str, ...], default: Any, absent: bool) -> Data:
    takes_kind = types == ("override",) or any(option in TRAITS for option in types)
    if absent:
        opened = isinstance(default, str) and default in KINDS and takes_kind
        return {"kind": default} if opened else {}
    if isinstance(old, dict):
        return dict(old)
    if isinstance(old, str) and takes_kind:
        return {"kind": old}
    if old is None or (old == default and isinstance(old, bool) == isinstance(default, bool)):
        return {}
    raise MergeRefused


def _fields_of(base: Data, types: tuple[str, ...]) -> Callable[[str], Field]:
    """What the keys of a mapping are, as far as its type is known."""
    unknown = Field(("override",), None)
    for option in types:
        if option in GROUPS:
            return lambda name, fields=GROUPS[option].fields: fields.get(name, unknown)
        if option in TRAITS and base.get("kind") in kinds_of(option):
            known = entry_of(option, base["kind"]).fields
            return lambda name, known=known: known.get(name, unknown)
        if option.startswith("map("):
            value = Field(tuple(option[4:-1].split("|")), None)
            return lambda _, value=value: value
    return lambda _: unknown
