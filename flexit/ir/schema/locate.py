"""Where in the document a pydantic error is. Its location names branches of unions too, which are no keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flexit.ir.language.annotations import (
    Entry,
    FieldType,
    Flag,
    GroupOf,
    KindOf,
    ListOf,
    MapOf,
    Number,
    Option,
    Text,
    Unchecked,
    Words,
    class_of,
    fields,
)
from flexit.ir.language.kinds import Group
from flexit.ir.language.written import Mark, Node

TAGS: dict[type[Option], tuple[str, ...]] = {
    KindOf: ("function-plain",), ListOf: ("list[",), MapOf: ("dict[",), Words: ("literal[",),
    Number: ("int", "float"), Flag: ("bool",), Text: ("str",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spot:
    """A value in the document, or a field that is not there.

    Attributes:
        owner: class of the mapping that has the field, if it is one with fields.
        parent: that mapping.
        name: key of the field in it.
        entry: the field, if the class has one of that name.
        type: what is expected here.
        node: what is there.
        named: whether the mapping is an entry of a map, such as ``blocks``.
    """

    owner: type[Group] | None
    parent: Node
    name: str | int
    entry: Entry | None
    type: FieldType
    node: Node | None
    named: bool = False

    @property
    def path(self) -> tuple[str | int, ...]:
        """Path of the value, where it was or would be written."""
        return self.node.path if self.node is not None else (*self.parent.path, self.name)

    @property
    def mark(self) -> Mark | None:
        """Place of the value; where there is none, of the key that lacks it."""
        if self.node is not None:
            return self.node.mark or self.node.key or self.parent.mark
        return self.parent.key or self.parent.mark

    @property
    def key_mark(self) -> Mark | None:
        """Place of the key."""
        return self.parent.keys.get(str(self.name), self.mark)


def locate(type_: FieldType, node: Node, loc: tuple[str | int, ...]) -> Spot | None:
    """Follow an error's location; None where it speaks of an alternative that the value does not try to be."""
    spot = Spot(None, node, "", None, type_, node)
    rest = list(loc)
    while rest:
        found = spot.node
        option = _meant(spot.type, found)
        if len(spot.type.options) > 1:
            if option is None:
                return spot
            if not _is_tag(option, str(rest.pop(0))):
                return None
            if not rest:
                return spot
        if option is None or found is None:
            return spot
        step = rest.pop(0)
        if step == "[key]":
            return spot
        spot = _step(spot, option, step)
    return spot


def _step(spot: Spot, option: Option, step: str | int) -> Spot:
    node = spot.node
    assert node is not None
    if isinstance(option, ListOf) and isinstance(node.value, list) and isinstance(step, int):
        return Spot(None, node, step, None, option.item, node.value[step])
    if isinstance(option, MapOf):
        return Spot(None, node, step, None, option.value, node.entries.get(str(step)))
    cls = class_of(option, node if isinstance(node.value, str) else node.entries.get("kind"))
    if cls is None:
        return spot
    name = str(step)
    entry = fields(cls).get(name)
    type_ = entry.type if entry is not None else FieldType((Unchecked(),))
    named = spot.owner is None and isinstance(spot.name, str) and spot.name != ""
    return Spot(cls, node, name, entry, type_, node.entries.get(name), named)


def _meant(type_: FieldType, node: Node | None) -> Option | None:
    """The alternative that a value tries to be: a mapping, a list or a bare kind."""
    if node is None:
        return None
    wanted: tuple[type[Any], ...] = ()
    if isinstance(node.value, dict):
        wanted = (GroupOf, KindOf, MapOf)
    elif isinstance(node.value, list):
        wanted = (ListOf,)
    elif isinstance(node.value, str):
        wanted = (KindOf,)
    return next((option for option in type_.options if isinstance(option, wanted)), None)


def _is_tag(option: Option, tag: str) -> bool:
    if isinstance(option, GroupOf):
        return tag == option.cls.__name__
    return any(part in tag for part in TAGS.get(type(option), ()))
