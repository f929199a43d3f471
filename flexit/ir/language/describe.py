"""Types of fields in the words of messages: what is expected, and an example of it."""

from __future__ import annotations

from typing import Any

from flexit.ir import registry
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
)
from flexit.ir.language.kinds import Group, Kind
from flexit.ir.wording import article, either, shown


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


def example(cls: type[Group], name: str, type_: FieldType) -> Any:
    """A value that the field could have, from the examples of the class if it has any; None where none is known."""
    for instance in getattr(cls, "examples", ()):
        if name in instance:
            return instance[name]
    for option in type_.options:
        found = _example(option)
        if found is not None:
            return found
    return None


def _example(option: Option) -> Any:
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
            kind = legal_kinds(trait)[0]
            found = registry.find(trait, kind)
            needed = None if found is None else _required(found)
            return None if needed is None else {"kind": kind, **needed} if needed else kind
        case GroupOf(cls=cls):
            return _required(cls)
        case ListOf(item=item):
            item_ = next((found for inner in item.options if (found := _example(inner)) is not None), None)
            return None if item_ is None else [item_]
        case _:
            return None


def _required(cls: type[Group]) -> dict[str, Any] | None:
    """The fields that must be written, with examples; None where one of them has none."""
    needed = {name: example(cls, name, entry.type) for name, entry in as_slot(cls).items() if entry.required}
    return None if None in needed.values() else needed
