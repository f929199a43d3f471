"""The types of fields as plain data, read off the classes: what messages, merging and the JSON Schema go by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import annotated_types as at
from pydantic.fields import FieldInfo

from flexit.ir import registry
from flexit.ir.block import Block
from flexit.ir.language.kinds import Group, Kind, is_inferred
from flexit.ir.language.template import Template
from flexit.ir.language.written import Node


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a range; a strict bound is exclusive."""

    integer: bool
    low: float | None = None
    low_strict: bool = False
    high: float | None = None
    high_strict: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""


@dataclass(frozen=True, slots=True)
class Text:
    """Any text."""


@dataclass(frozen=True, slots=True)
class Words:
    """One of a few values."""

    words: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class GroupOf:
    """A mapping of the fields of a class."""

    cls: type[Group]


@dataclass(frozen=True, slots=True)
class KindOf:
    """A kind of a family, or of a trait of one.

    Attributes:
        partial: an override of one, which need not be complete.
    """

    trait: type[Kind]
    partial: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list."""

    item: FieldType


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with keys of the user's choice."""

    value: FieldType


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Anything; a later check looks at it."""


Option = Number | Flag | Text | Words | GroupOf | KindOf | ListOf | MapOf | Unchecked


@dataclass(frozen=True, slots=True)
class FieldType:
    """The alternatives that a field takes, and whether ``null`` (off) is one."""

    options: tuple[Option, ...]
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A field as users write it.

    Attributes:
        name: the key in a document.
        attribute: the name in Python.
        default: its value where it is left out; ``None`` for a required field too.
    """

    name: str
    attribute: str
    type: FieldType
    required: bool
    inferred: bool
    default: Any


@cache
def fields(cls: type[Group]) -> dict[str, Entry]:
    """The fields of a class by the key users write, in the order messages list them: inherited ones last."""
    inherited = set(Block.model_fields) if issubclass(cls, Block) else set[str]()
    ordered = sorted(cls.model_fields.items(), key=lambda item: item[0] in inherited)
    return {info.alias or name: _entry(cls, name, info) for name, info in ordered}


def as_slot(cls: type[Group]) -> dict[str, Entry]:
    """The fields of a block where it is the value of a field: ``from`` and ``shares`` belong to named blocks alone."""
    known = fields(cls)
    return {name: known[name] for name in known if not (issubclass(cls, Block) and name in ("from", "shares"))}


def _entry(cls: type[Group], name: str, info: FieldInfo) -> Entry:
    inferred = is_inferred(cls, name) or name == "wired"
    type_ = _type(info.annotation, info.metadata)
    type_ = replace(type_, nullable=False) if inferred else type_
    default = None if info.is_required() else info.get_default(call_default_factory=True, validated_data={})
    return Entry(info.alias or name, name, type_, info.is_required(), inferred, default)


def _type(annotation: Any, metadata: Iterable[Any] = ()) -> FieldType:
    options = tuple(_options(annotation, tuple(metadata)))
    return FieldType(tuple(option for option in options if option is not None), None in options)


def _options(annotation: Any, metadata: tuple[Any, ...]) -> Iterator[Option | None]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *extra = get_args(annotation)
        yield from _options(inner, (*metadata, *extra))
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _options(member, ())
    elif annotation is NoneType:
        yield None
    else:
        yield _option(annotation, origin, metadata)


def _option(annotation: Any, origin: Any, metadata: tuple[Any, ...]) -> Option:
    if origin is Literal:
        return Words(get_args(annotation))
    if origin is list:
        return ListOf(_type(get_args(annotation)[0]))
    if origin is dict:
        value = get_args(annotation)[1]
        return MapOf(FieldType((KindOf(Block, partial=True),)) if value is Template else _type(value))
    if annotation in (int, float):
        return _number(annotation is int, _flat(metadata))
    return _of_class(annotation) if isinstance(annotation, type) else Unchecked()


def _of_class(cls: type[Any]) -> Option:
    if cls is bool:
        return Flag()
    if cls is str:
        return Text()
    if cls is Template:
        return KindOf(Block)
    if issubclass(cls, Kind):
        return KindOf(cls)
    return GroupOf(cls) if issubclass(cls, Group) else Unchecked()


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            yield from entry.metadata
        else:
            yield entry


def _number(integer: bool, bounds: Iterable[Any]) -> Number:
    number = Number(integer)
    for bound in bounds:
        match bound:
            case at.Ge(ge=low):
                number = replace(number, low=cast(float, low), low_strict=False)
            case at.Gt(gt=low):
                number = replace(number, low=cast(float, low), low_strict=True)
            case at.Le(le=high):
                number = replace(number, high=cast(float, high), high_strict=False)
            case at.Lt(lt=high):
                number = replace(number, high=cast(float, high), high_strict=True)
            case _:
                pass
    return number


def class_of(option: Option | None, kind: Node | None) -> type[Group] | None:
    """The class whose fields a mapping has, by the value of its key ``kind``."""
    if isinstance(option, GroupOf):
        return option.cls
    if isinstance(option, KindOf) and kind is not None and isinstance(kind.value, str):
        found = registry.find(option.trait, kind.value)
        return found if found is not None and issubclass(found, option.trait) else None
    return None
