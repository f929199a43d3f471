"""What a document is to contain if it can: a few names of the vocabulary, so that rare ones are not left to luck."""

from __future__ import annotations

import random
from collections.abc import Collection
from functools import cache, cached_property
from typing import Any

from flexit.ir.block import Block
from flexit.ir.language.annotations import Entry, FieldType, Flag, GroupOf, KindOf, Option, Words, fields
from flexit.ir.language.initialisation import Init
from flexit.ir.language.kinds import Group, Kind
from tests.fuzz.occurrences import classes, classes_of, flat, name_of, owner_of, reach, vocabulary

EACH = 6
"""How many names a document is to contain."""
NEEDS = {"Block.stack.drop_path_rate: linear": "drop_path", "Block.stack.final_norm: true": "norm"}
"""Fields without which a word means nothing."""


def wishes_of(seed: int) -> list[Wish]:
    """Those of a document: documents take turns to go through the vocabulary, and every fourth has none."""
    if seed % 4 == 3:
        return []
    wished, start = _wished(), (seed - seed // 4) * EACH
    return [wish(wished[(start + index) % len(wished)]) for index in range(EACH)]


@cache
def wish(name: str) -> Wish:
    """The wish for a name; nothing is wished by an empty one."""
    return Wish(name)


class Wish:
    """A name of the vocabulary that is to occur, and what leads to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner = owner_of(name) if name else ""
        self.field_name, _, self.word_text = name.partition(": ")
        self._known: dict[tuple[type[Group], str], bool] = {}

    @cached_property
    def is_init(self) -> bool:
        """Whether it is about ``init``."""
        return self.owner.startswith(f"{Init.family}.")

    def led_to(self, cls: type[Group]) -> bool:
        """Whether it is a class, or in it."""
        return self.owner in reach(cls)

    def kinds(self, trait: type[Kind], among: Collection[str] | None = None) -> list[str]:
        """Kinds of a trait that lead to it."""
        if not self.name:
            return []
        return [cls.kind for cls in classes_of(trait) if (among is None or cls.kind in among) and self.led_to(cls)]

    def helpful(self, kinds: Collection[str]) -> list[str]:
        """Kinds of blocks with the field without which it means nothing."""
        needed = NEEDS.get(self.name)
        return [cls.kind for cls in classes_of(Block) if needed in fields(cls) and cls.kind in kinds] if needed else []

    def field(self, cls: type[Group], entry: Entry) -> bool:
        """Whether a field is wished, or leads to what is, or is what the wished word of another field speaks of."""
        if not self.name:
            return False
        key = (cls, entry.name)
        if key not in self._known:
            named = f"{name_of(cls)}.{entry.name}" == self.field_name
            spoken = (self.owner == name_of(cls) and self.word_text == entry.name) or NEEDS.get(self.name) == entry.name
            self._known[key] = named or spoken or any(map(self.leads, flat(entry.type)))
        return self._known[key]

    def leads(self, option: Option) -> bool:
        """Whether an alternative of a field's type leads to it, other blocks left out."""
        if isinstance(option, GroupOf):
            return self.led_to(option.cls)
        if isinstance(option, KindOf) and not issubclass(option.trait, Block):
            return bool(self.kinds(option.trait))
        return False

    def word(self, cls: type[Group] | None, name: str, option: Option) -> list[Any]:
        """The wished word, if it is one of a field's."""
        if not self.word_text or cls is None or f"{name_of(cls)}.{name}" != self.field_name:
            return []
        every = option.words if isinstance(option, Words) else (False, True) if isinstance(option, Flag) else ()
        return [word for word in every if str(word).lower() == self.word_text]

    def null(self, cls: type[Group] | None, name: str) -> bool:
        """Whether a field is to be null."""
        return cls is not None and self.word_text == "null" and f"{name_of(cls)}.{name}" == self.field_name

    def options(self, cls: type[Group] | None, name: str, type_: FieldType) -> list[Option]:
        """The alternatives of a field that lead to it; all of them if none does."""
        if not self.name or cls is None:
            return list(type_.options)
        found = [
            option for option in type_.options
            if any(self.leads(one) or self.word(cls, name, one) for one in flat(FieldType((option,))))
        ]  # fmt: skip
        return found or list(type_.options)


@cache
def _wished() -> list[str]:
    """Words, optional fields without any, and kinds with neither: to write these is to write the others too."""
    known = vocabulary()
    spoken = {name.partition(": ")[0] for name in known if known[name] == "word"}
    optional = {f"{name_of(cls)}.{e.name}" for cls in classes() for e in fields(cls).values() if not e.required}
    chosen = [
        name for name, what in known.items()
        if what == "word" or (what == "field" and name in optional and name not in spoken)
    ]  # fmt: skip
    owners = set(map(owner_of, chosen))
    chosen += [name for name, what in known.items() if what == "kind" and name not in owners]
    drawn_anyway = ("Spec", "Block", "Input")  # wiring, sharing and inputs are drawn for every document
    chosen = [name for name in chosen if owner_of(name) not in drawn_anyway and not owner_of(name).startswith("Input.")]
    return random.Random(0).sample(chosen, len(chosen))
