"""Random values for the fields of flexit's classes, as ``annotations`` describes them. No kind or field is listed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from flexit.ir.block import Block
from flexit.ir.language.annotations import (
    Entry,
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
    as_slot,
    fields,
)
from flexit.ir.language.initialisation import ROLES, Init
from flexit.ir.language.kinds import Group, Kind
from flexit.ir.language.masks import Causal, Mask
from tests.fuzz.occurrences import classes_of, own
from tests.fuzz.wishes import wish

Data = dict[str, Any]
SIZES = (1, 2, 2, 2, 3, 4, 4, 4, 4, 5, 6, 8, 8, 12, 16, 40)
FRACTIONS = (0.0, 0.1, 0.25, 0.5, 0.9, 1.0, 1.5, 2.0, 4.0, 1e-3)
WIDTHS = ("d_model", "d_out", "width")
"""Wiring: fields that say the width of an edge, which should often be that of the others."""
NESTED_PORT = {"cross_attention": "memory"}
"""Wiring: the port beside ``x`` that the block in a field reads."""
OPTIONAL = 0.18
"""How often a field that could be left out is written."""
CHOICE = 0.4
"""The same, of a field that leads to a choice among kinds that are no blocks: there is more to try below it."""

FAVOUR = 0.85
"""How often what is wished is taken where it may stand."""


ROLE_OF = {"rsqrt_fan_in_head_dim": "query_projection"}
"""The one role that a word may be said of."""


class Drawing:
    """Draws values.

    Attributes:
        width: the width that edges of the document usually have.
        nested: draws a block for a field, by the field's name and the trait it asks for.
        wish: what is to occur, so that everything does in few documents.
        causal: whether masks are to be causal most of the time.
    """

    def __init__(self, rng: random.Random, width: int) -> None:
        self.rng = rng
        self.width = width
        self.wish = wish("")
        self.causal = False
        self.nested: Callable[[str, type[Kind]], Any] = lambda _, trait: self.kind(trait)

    def fields_of(self, cls: type[Group], known: Mapping[str, Entry], start: Data) -> Data:
        """``start`` with some fields drawn anew; required ones are there in any case."""
        drawn = dict(start)
        often = OPTIONAL if len(known) > 4 and (start or issubclass(cls, Block)) else 2.5 * OPTIONAL
        for name, entry in known.items():
            chance = CHOICE if _leads_to_kinds(entry) else often
            if name == "init":
                chance = 0.3 if self.wish.is_init else 0.08
            elif self.wish.field(cls, entry):
                chance = FAVOUR
            if (entry.required and name not in drawn) or self.rng.random() < chance:
                drawn[name] = self.field(entry, cls)
            elif name in drawn:
                drawn[name] = self.varied(entry, drawn[name])
        return drawn

    def varied(self, entry: Entry, value: Any) -> Any:
        """A value that is kept, or a group, or a kind that is no block, with some of its fields drawn anew."""
        inner = [cls for cls in map(part_of, entry.type.options, [value] * len(entry.type.options)) if cls is not None]
        if not inner or not isinstance(value, dict) or self.rng.random() < 0.25:
            return value
        return self.fields_of(inner[0], as_slot(inner[0]) if issubclass(inner[0], Kind) else fields(inner[0]), value)

    def field(self, entry: Entry, cls: type[Group] | None = None) -> Any:
        """A value that the field's type takes, in a class if that is known."""
        if entry.type.nullable and self.rng.random() < (0.7 if self.wish.null(cls, entry.name) else 0.15):
            return None
        if entry.attribute == "init":
            return self.init()
        return self.option(entry.name, self.rng.choice(self.wish.options(cls, entry.name, entry.type)), cls)

    def option(self, name: str, option: Option, cls: type[Group] | None = None) -> Any:
        match option:
            case Number():
                return self.number(name, option)
            case Flag() | Words():
                every = option.words if isinstance(option, Words) else (False, True)
                wished = self.wish.word(cls, name, option)
                return self.rng.choice(wished if wished and self.rng.random() < FAVOUR else every)
            case Text():
                return "other"
            case GroupOf():
                return self.fields_of(option.cls, fields(option.cls), {})
            case KindOf():
                return self.nested(name, option.trait)
            case ListOf():
                size = self.rng.randint(1, 3)
                items = [self.option(name, self.rng.choice(option.item.options)) for _ in range(size)]
                wished = [word for one in option.item.options for word in self.wish.word(cls, name, one)]
                if wished and wished[0] not in items:
                    items[self.rng.randrange(size)] = wished[0]
                return items
            case MapOf():
                return {"a": self.option(name, self.rng.choice(option.value.options))}
            case Unchecked():
                return "x"

    def number(self, name: str, option: Number) -> float:
        pool = SIZES if option.integer else FRACTIONS
        if name in WIDTHS and self.rng.random() < 0.85:
            return self.width
        legal = [
            number for number in pool
            if (option.low is None or number > option.low or (number == option.low and not option.low_strict))
            and (option.high is None or number < option.high or (number == option.high and not option.high_strict))
        ]  # fmt: skip
        if name == "theta" and self.rng.random() < 0.9:
            return self.rng.choice([number for number in legal if number > 1])
        return self.rng.choice(legal or [option.low or 0])

    def kind(self, trait: type[Kind], *, among: list[str] | None = None) -> Any:
        """A kind of a family or trait: one of its examples if it has any, with some fields drawn anew."""
        chosen = self.rng.choice(among or own(trait))
        if self.causal and issubclass(trait, Mask) and self.rng.random() < 0.95:
            chosen = Causal.kind
        wished = self.wish.kinds(trait, among)
        if wished and self.rng.random() < FAVOUR:
            chosen = self.rng.choice(wished)
        cls = next(cls for cls in classes_of(trait) if cls.kind == chosen)
        examples = getattr(cls, "examples", ())
        start = dict(self.rng.choice(examples)) if examples and self.rng.random() < 0.7 else {}
        start.pop("kind", None)
        known = as_slot(cls)
        data = self.fields_of(cls, known, start)
        if not data and self.rng.random() < 0.6:
            return chosen
        return {"kind": chosen, **data}

    def init(self) -> Data:
        roles = self.rng.sample(ROLES, self.rng.randint(1, 2))
        roles[0] = ROLE_OF.get(self.wish.word_text, roles[0])
        return {role: self.kind(Init) for role in roles}


def part_of(option: Option, value: Any) -> type[Group] | None:
    """The group that a value is, or the kind if it is no block."""
    if isinstance(option, GroupOf):
        return option.cls
    if isinstance(option, KindOf) and not issubclass(option.trait, Block) and isinstance(value, dict):
        return next((cls for cls in classes_of(option.trait) if cls.kind == value.get("kind")), None)
    return None


@cache
def extent(cls: type[Group]) -> int:
    """How many fields there are to try in a class, its groups and the kinds that it asks for, blocks left out."""
    known = as_slot(cls) if issubclass(cls, Kind) else fields(cls)
    inner = [option for entry in known.values() for option in entry.type.options]
    groups = [option.cls for option in inner if isinstance(option, GroupOf)]
    asked = [option.trait for option in inner if isinstance(option, KindOf) and not issubclass(option.trait, Block)]
    kinds = [kind for trait in asked for kind in classes_of(trait)]
    return len(known) + sum(map(extent, [*groups, *kinds]))


def _leads_to_kinds(entry: Entry) -> bool:
    """Whether a field, or one of its group, asks for a kind of a family of its own."""
    return any(
        (isinstance(option, KindOf) and not issubclass(option.trait, Block))
        or (isinstance(option, GroupOf) and any(map(_leads_to_kinds, fields(option.cls).values())))
        for option in entry.type.options
    )


@cache
def block_class(kind: str) -> type[Block]:
    from flexit.ir.registry import find

    cls = find(Block, kind)
    assert cls is not None and issubclass(cls, Block)
    return cls


def is_varied(cls: type[Block]) -> bool:
    """Whether a block repeats a layer with variants."""
    return {"n_layers", "layer", "variants", "pattern", "layers"} <= set(cls.model_fields)
