"""Types of fields in the words of messages: what is expected, and an example of it."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, cast

from flexit.ir import registry
from flexit.ir.block import Block
from flexit.ir.language.annotations import (
    FieldType,
    Flag,
    GroupOf,
    KindOf,
    ListOf,
    MapOf,
    Number,
    Option,
    Text,
    Words,
    as_slot,
    fields,
)
from flexit.ir.language.kinds import Group, Kind
from flexit.ir.wording import article, either, plain, shown


def describe(type_: FieldType) -> str:
    """What a field takes: ``an integer >= 1, or null``."""
    return either([*(describe_option(option) for option in type_.options), *(["null"] if type_.nullable else [])])


def describe_option(option: Option) -> str:
    """One alternative."""
    match option:
        case Number():
            return f"{'an integer' if option.integer else 'a number'}{bounds(option)}"
        case Flag() | Text():
            return "true or false" if isinstance(option, Flag) else "a text"
        case Words(words=words):
            return shown(words[0]) if len(words) == 1 else f"one of {', '.join(map(shown, words))}"
        case GroupOf(cls=cls):
            return f"a mapping with {', '.join(as_slot(cls))}"
        case KindOf(trait=trait):
            return f"{article(family_name(trait))}: {either(legal_kinds(trait))}"
        case ListOf(item=item):
            return f"a list of {plural(item)}"
        case MapOf(value=value):
            return f"a mapping to {plural(value)}"
        case _:
            return "an edge"


def bounds(number: Number) -> str:
    """`` >= 1`` or `` in [0, 1)``, as the language's tables write ranges."""
    if number.low is not None and number.high is not None:
        left, right = "(["[not number.low_strict], "])"[number.high_strict]
        return f" in {left}{shown(number.low)}, {shown(number.high)}{right}"
    if number.low is not None:
        return f" {'>' if number.low_strict else '>='} {shown(number.low)}"
    if number.high is not None:
        return f" {'<' if number.high_strict else '<='} {shown(number.high)}"
    return ""


def plural(type_: FieldType) -> str:
    """A type where many of it stand."""
    words: list[str] = []
    for option in type_.options:
        match option:
            case Number():
                words.append(f"{'integers' if option.integer else 'numbers'}{bounds(option)}")
            case Text():
                words.append("texts")
            case Words(words=known):
                words.append(", ".join(map(shown, known)))
            case KindOf(trait=trait, partial=partial):
                words.append(
                    f"overrides of {family_name(trait).lower()}s" if partial else f"{family_name(trait)} entries"
                )
            case ListOf(item=item):
                words.append(f"lists of {plural(item)}")
            case _:
                words.append(describe_option(option))
    return either(words)


def family_name(trait: type[Kind]) -> str:
    """How the language's tables call a family or trait: ``Mask``, ``FeedForward``."""
    return trait.__dict__.get("family") or trait.__name__


def legal_kinds(trait: type[Kind]) -> list[str]:
    """Kinds that may stand where the trait is asked for."""
    return registry.names(trait)


def meant_kind(word: str, trait: type[Kind]) -> tuple[str, str] | None:
    """The kind that has the trait and is also called ``word``, and the field that makes it that, if any."""
    for kind in legal_kinds(trait):
        found = registry.find(trait, kind)
        if found is not None and plain(word) in found.also_called:
            return kind, found.also_called[plain(word)]
    return None


def is_usual(trait: type[Kind], kind: str) -> bool:
    """Whether a kind is the one to propose among those of its sort."""
    found = registry.find(trait, kind)
    return found is not None and found.usual


def usual_kind(trait: type[Kind], written: Container[str] = ()) -> str:
    """The kind to propose where the trait is asked for: of those with most of the fields that are written."""

    def rank(kind: str) -> tuple[int, bool]:
        found = registry.find(trait, kind)
        known = fields(found) if found is not None else {}
        return sum(name in written for name in known), is_usual(trait, kind)

    return max(legal_kinds(trait), key=rank)


def example(cls: type[Group], name: str, type_: FieldType, *, width: int | None = None) -> Any:
    """A value that the field could have, from the examples of the class if it has any; None where none is known.

    Args:
        cls: the class that has the field.
        name: of the field.
        type_: what it takes.
        width: the model's, which other widths go by; without it none is known for them.
    """
    if name in cls.widths:
        return None if width is None else cls.widths[name] * width
    for instance in getattr(cls, "examples", ()):
        if name in instance:
            return _scaled(instance[name], type_, width)
    for option in type_.options:
        found = _example(option, width)
        if found is not None:
            return found
    return None


def holding(type_: FieldType, value: float) -> dict[str, Any] | None:
    """A mapping that says a number by the field which takes it, ``{every: 10}`` for 10; None where there is none."""
    for option in type_.options:
        cls, kind = _proposed(option)
        for name, entry in as_slot(cls).items() if cls is not None else ():
            if any(isinstance(taken, Number) and _takes(taken, value) for taken in entry.type.options):
                others = required(cls, None, but=name) if cls is not None else None
                return None if others is None else {**kind, **others, name: value}
    return None


def _proposed(option: Option) -> tuple[type[Group] | None, dict[str, str]]:
    """The class whose fields stand for what is written as a number, and how it is chosen."""
    if isinstance(option, GroupOf):
        return option.cls, {}
    if isinstance(option, KindOf) and option.trait is not Block:
        kind = usual_kind(option.trait)
        return registry.find(option.trait, kind), {"kind": kind}
    return None, {}


def _takes(number: Number, value: float) -> bool:
    low, high = number.low, number.high
    return not (
        isinstance(value, bool)
        or (number.integer and not isinstance(value, int))
        or (low is not None and (value < low or (number.low_strict and value == low)))
        or (high is not None and (value > high or (number.high_strict and value == high)))
    )


def _scaled(sample: Any, type_: FieldType, width: int | None) -> Any:
    """The example of a kind with the widths that go with the model's; None where that is not known."""
    entries = cast("dict[str, Any]", sample) if isinstance(sample, dict) else {}
    kind = entries.get("kind")
    traits = [option.trait for option in type_.options if isinstance(option, KindOf)]
    cls = registry.find(traits[0], kind) if traits and isinstance(kind, str) else None
    scaled = [name for name in cls.widths if name in entries] if cls is not None else []
    if cls is None or not scaled:
        return cast("Any", sample)
    return None if width is None else {**entries, **{name: cls.widths[name] * width for name in scaled}}


def _example(option: Option, width: int | None) -> Any:
    match option:
        case Number(integer=True):
            return max(1, int(option.low or 1))
        case Number():
            return 1.0 if option.high is None or option.high > 1 else 0.1
        case Flag():
            return True
        case Words(words=words):
            return words[0]
        case KindOf(trait=trait):
            kind = usual_kind(trait)
            found = registry.find(trait, kind)
            needed = None if found is None else required(found, width)
            return None if needed is None else {"kind": kind, **needed} if needed else kind
        case GroupOf(cls=cls):
            return required(cls, width)
        case ListOf(item=item):
            item_ = next((found for inner in item.options if (found := _example(inner, width)) is not None), None)
            return None if item_ is None else [item_]
        case _:
            return None


def required(cls: type[Group], width: int | None, *, but: str = "") -> dict[str, Any] | None:
    """Fields that must be written or are proposed, with examples; None where one of them, ``but`` aside, has none."""
    needed = {
        name: example(cls, name, entry.type, width=width)
        for name, entry in as_slot(cls).items()
        if (entry.required or name in cls.proposed) and name != but
    }
    return None if None in needed.values() else needed
