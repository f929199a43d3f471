"""A spec as a person would write it: what stands at its default anyway is left out."""

from __future__ import annotations

from typing import Any, cast

from flexit.ir.language.annotations import Entry, GroupOf, KindOf, MapOf, Option, class_of, fields
from flexit.ir.language.kinds import Group
from flexit.ir.language.written import Node
from flexit.ir.spec import Spec

Data = dict[str, Any]
KEPT = frozenset({"mask", "norm_placement"})
"""Fields that are written though they say the usual: a reader looks for them."""


def readable(data: Data) -> Data:
    """The same document without defaults; kinds without fields by their names alone."""
    return _group(data, Spec)


def _group(data: Data, cls: type[Group]) -> Data:
    known = fields(cls)
    found: Data = {}
    for key, value in data.items():
        entry = known.get(key)
        if entry is None:
            found[key] = value
            continue
        short = value if key == "variants" else _value(value, entry)  # a default may be what differs
        if entry.required or key in KEPT or not _is_default(short, entry):
            found[key] = short
    return found


def _is_default(value: Any, entry: Entry) -> bool:
    if value is None and entry.inferred:
        return True
    default = entry.default
    if isinstance(default, Group):
        return value == {}
    return type(value) is type(default) and value == default


def _value(value: Any, entry: Entry) -> Any:
    for option in entry.type.options:
        if isinstance(value, dict):
            found = _mapping(cast("Data", value), option)
            if found is not None:
                return found
    return value


def _mapping(value: Data, option: Option) -> Any:
    if isinstance(option, MapOf):
        inner = option.value.options
        return {key: _any(each, inner[0]) if isinstance(each, dict) else each for key, each in value.items()}
    return _any(value, option) if isinstance(option, GroupOf | KindOf) else None


def _any(value: Data, option: Option) -> Any:
    kind = value.get("kind")
    cls = class_of(option, Node(kind) if isinstance(kind, str) else None)
    if cls is None:
        return None if isinstance(option, GroupOf) else value
    short = _group({key: each for key, each in value.items() if key != "kind"}, cls)
    if "kind" not in value:
        return short
    return {"kind": kind, **short} if short else kind
