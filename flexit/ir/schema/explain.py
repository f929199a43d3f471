"""One problem for one pydantic error, in the words of the language."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any, get_args

from flexit.errors import Problem
from flexit.ir.block import FeedForward
from flexit.ir.diagnostics import problem
from flexit.ir.faults import placed
from flexit.ir.io.flow import flow
from flexit.ir.io.scalars import resolve
from flexit.ir.language.activations import SYNONYMS, Activation
from flexit.ir.language.annotations import FieldType, Flag, KindOf, Number, Text, Words, as_slot, fields
from flexit.ir.language.describe import (
    bounds,
    describe,
    example,
    family_name,
    holding,
    legal_kinds,
    meant_kind,
    usual_kind,
)
from flexit.ir.language.kinds import Group
from flexit.ir.language.names import PATTERN, free_name
from flexit.ir.language.written import Mark, Node, dotted
from flexit.ir.schema.cures import cure_of_field, cure_of_kind
from flexit.ir.schema.locate import Spot
from flexit.ir.wording import article, cut, either, nearest, plain, shown, typed

YES_NO = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
OVERRIDE = "--set "
"""Begins the place of a value that was given on the command line."""
BAD_NAMES = "[a-z][a-z0-9_]{0,63}, no Python keyword and nothing that a PyTorch module has"


def explain(spot: Spot, kind: str, context: Mapping[str, Any]) -> Problem:
    """The problem of one pydantic error.

    Args:
        spot: where it is.
        kind: pydantic's type of error, or one of the validators' own.
        context: what the validator says about it.
    """
    special = _SPECIAL.get(kind)
    return special(spot, context) if special is not None else wrong_value(spot)


def at(spot: Spot, code: str, mark: Mark | None, *, path: tuple[str | int, ...] | None = None, **parts: str) -> Problem:
    """A problem at a place of the document."""
    return placed(problem(code, path=dotted(spot.path if path is None else path), **parts), mark)


# ---- fields


def unknown_field(spot: Spot, context: Mapping[str, Any]) -> Problem:
    """A key that the class has no field for."""
    del context
    cls, name = spot.owner, str(spot.name)
    assert cls is not None
    kind: str = getattr(cls, "kind", "")
    where = f" of {kind}" if kind else ""
    if name in cls.later:
        return at(
            spot, "FX0203", spot.key_mark, message=f"{name}{where} is not here yet",
            expected="a field of this version of flexit", found=cut(name), cure=f"delete {name}; it is planned",
        )  # fmt: skip
    known = list(fields(cls) if spot.named else as_slot(cls))
    cure = cure_of_field(cls, name, known=known, value=spot.node)
    if name in ("from", "shares") and name in fields(cls):
        cure = f"delete it; {name} belongs to an entry of a blocks map"
    return at(
        spot, "FX0201", spot.key_mark, message=f"unknown field{where}",
        expected=f"one of {', '.join(known) or 'no fields at all'}", found=shown(name), cure=cure,
    )  # fmt: skip


def missing_field(spot: Spot, context: Mapping[str, Any]) -> Problem:
    """A required field that is not written."""
    assert spot.owner is not None
    cls, width = spot.owner, context.get("width")
    sample = example(cls, str(spot.name), spot.type, width=width)
    cure = f"add {spot.name}: {flow(sample)}" if sample is not None else f"add {spot.name}, {describe(spot.type)}"
    if isinstance(spot.parent.value, str):
        needed = [(name, entry.type) for name, entry in as_slot(cls).items() if entry.required]
        values = {name: example(cls, name, type_, width=width) for name, type_ in needed}
        inside = [f"{name}: {'...' if value is None else flow(value)}" for name, value in values.items()]
        cure = f"write {{kind: {', '.join([spot.parent.value, *inside])}}}"
    return at(
        spot, "FX0202", spot.mark, message="required field is missing",
        expected=f"{describe(spot.type)} (there is no default)", found="nothing", cure=cure,
    )  # fmt: skip


# ---- kinds


def _kind_missing(spot: Spot, context: Mapping[str, Any]) -> Problem:
    del context
    trait = _trait(spot)
    legal, written = legal_kinds(trait), spot.node.entries if spot.node is not None else {}
    typed_as = written["type"].value if "type" in written else None
    cure = f"add kind: {usual_kind(trait, written)}"
    if isinstance(typed_as, str):
        cure = f"write kind: {typed_as if typed_as in legal else usual_kind(trait, written)} in the place of type"
    return at(
        spot, "FX0202", spot.node.key if spot.node is not None and spot.node.key else spot.mark,
        path=(*spot.path, "kind"), message="required field is missing",
        expected=f"{article(family_name(trait))}: {either(legal)}", found="no kind", cure=cure,
    )  # fmt: skip


def _kind_type(spot: Spot, context: Mapping[str, Any]) -> Problem:
    node, path = spot.node, spot.path
    if context.get("key") == "kind" and node is not None and "kind" in node.entries:
        node, path = node.entries["kind"], (*path, "kind")
    value = node.plain() if node is not None else None
    if node is not None and node is spot.node and not isinstance(value, list):
        return wrong_value(spot)
    trait = _trait(spot)
    inside = holding(spot.type, value) if isinstance(value, int | float) and node is spot.node else None
    return at(
        spot, "FX0205", node.mark if node else spot.mark, path=path, message="wrong type",
        expected=f"{article(family_name(trait))}: {either(legal_kinds(trait))}", found=typed(value),
        cure=f"write {usual_kind(trait)}" if inside is None else _write(spot, inside),
    )  # fmt: skip


def _kind_unknown(spot: Spot, context: Mapping[str, Any]) -> Problem:
    kind, trait = str(context["kind"]), _trait(spot)
    legal, family = legal_kinds(trait), family_name(trait)
    cure = cure_of_kind(kind, trait)
    if any(isinstance(option, Flag) for option in spot.type.options) and kind.lower() in YES_NO:
        return wrong_value(spot, as_kind=False)
    if ":" in kind:
        cure = f"load the plugin that has it: --plugin {cut(kind.split(':', maxsplit=1)[0])}"
    return at(
        spot, "FX0203", _kind_mark(spot), message=f"no {family} of this kind", expected=f"one of {', '.join(legal)}",
        found=shown(kind), cure=cure,
    )  # fmt: skip


def _kind_later(spot: Spot, context: Mapping[str, Any]) -> Problem:
    kind = str(context["kind"])
    return at(
        spot, "FX0203", _kind_mark(spot), message=f"{kind} is not here yet",
        expected=f"one of {', '.join(legal_kinds(_trait(spot)))}", found=kind,
        cure="use another kind; this one is planned",
    )  # fmt: skip


def _kind_misplaced(spot: Spot, context: Mapping[str, Any]) -> Problem:
    kind, trait = str(context["kind"]), _trait(spot)
    legal, cure = legal_kinds(trait), cure_of_kind(kind, trait)
    return at(
        spot, "FX0204", _kind_mark(spot), message=f"{kind} is no {family_name(trait)}",
        expected=f"one of {', '.join(legal)}", found=kind, cure=f"{cure}, or move {kind} where it belongs",
    )  # fmt: skip


def _trait(spot: Spot) -> type[Any]:
    return next(option.trait for option in spot.type.options if isinstance(option, KindOf))


def _kind_mark(spot: Spot) -> Mark | None:
    node = spot.node
    return node.entries["kind"].mark if node is not None and "kind" in node.entries else spot.mark


# ---- values


def wrong_value(spot: Spot, *, as_kind: bool = True) -> Problem:
    """A value that the field's type does not take; a text is the name of a kind where one is welcome."""
    node, type_ = spot.node, spot.type
    value = node.plain() if node is not None else None
    expected = describe(type_)
    if value is None and not type_.nullable:
        return at(
            spot, "FX0208", spot.mark, message="null, but there is nothing to switch off", expected=expected,
            found="null",
            cure=_without_null(spot),
        )  # fmt: skip
    number = next((option for option in type_.options if isinstance(option, Number)), None)
    words = next((option for option in type_.options if isinstance(option, Words)), None)
    if isinstance(value, str) and words is not None and not (number is not None and _is_number(value)):
        return _not_a_word(spot, value, words)
    if words is not None and len(type_.options) == 1 and not isinstance(value, bool | dict | list):
        return _not_a_word(spot, value, words)
    if isinstance(value, int | float) and number is not None and _is_such(value, number):
        return _out_of_range(spot, value, number)
    family = next((option for option in type_.options if isinstance(option, KindOf)), None)
    if isinstance(value, str) and family is not None and as_kind:
        return _kind_unknown(spot, {"kind": value})
    quoted = " (quoted)" if isinstance(value, str) and number is not None and _is_number(value) else ""
    return at(
        spot, "FX0205", spot.mark, message="wrong type", expected=expected, found=f"{typed(value)}{quoted}",
        cure=_type_cure(spot, value, number),
    )  # fmt: skip


def _is_such(value: float, number: Number) -> bool:
    """Whether a value is of the wanted type, whatever its size."""
    return not isinstance(value, bool) and (isinstance(value, int) or not number.integer)


def _type_cure(spot: Spot, value: Any, number: Number | None) -> str:
    flag = any(isinstance(option, Flag) for option in spot.type.options)
    if isinstance(value, str) and number is not None and _is_number(value):
        return f"write {value} without quotes"
    if isinstance(value, float) and number is not None and value.is_integer():
        return f"write {int(value)}"
    if flag and isinstance(value, str) and value.lower() in YES_NO:
        return f"write {YES_NO[value.lower()]}"
    inside = holding(spot.type, value) if isinstance(value, int | float) else None
    if inside is not None:
        return _write(spot, inside)
    if any(isinstance(option, KindOf) for option in spot.type.options):
        return _write_example(spot) or "write a mapping with its kind"
    text = any(isinstance(option, Text) for option in spot.type.options)
    if isinstance(value, int | float) and text and not flag:
        return f"{_write(spot, shown(value))}, in quotes, if it is meant as text"
    return _write_example(spot) or f"write {describe(spot.type)}"


def _write_example(spot: Spot) -> str | None:
    """A value to write, in the document or on the command line, wherever the wrong one is."""
    sample = example(spot.owner, str(spot.name), spot.type) if spot.owner is not None else None
    return None if sample is None else _write(spot, sample)


def _write(spot: Spot, value: Any) -> str:
    if spot.mark is not None and spot.mark.file.startswith(OVERRIDE):
        return f"write {OVERRIDE}{shlex.quote(f'{dotted(spot.path)}={flow(value)}')}"
    return f"write {spot.name}: {flow(value)}" if isinstance(spot.name, str) and spot.name else f"write {flow(value)}"


def _is_number(text: str) -> bool:
    try:
        return isinstance(resolve(text), int | float) and not isinstance(resolve(text), bool)
    except ValueError:
        return False


def _without_null(spot: Spot) -> str:
    entry = spot.entry
    if entry is None or entry.required:
        return _write_example(spot) or "write a value"
    if entry.inferred:
        return f"leave {entry.name} out; its value is then inferred"
    return f"leave {entry.name} out for its default, {shown(_plain(entry.default))}"


def _plain(value: Any) -> Any:
    if isinstance(value, Group):
        return getattr(value, "kind", "") or {}
    return value


def _out_of_range(spot: Spot, value: float, number: Number) -> Problem:
    limit = number.integer and number.high is not None and value > number.high
    if limit:
        return at(
            spot, "FX0109", spot.mark, message="beyond the limit", expected=f"at most {shown(number.high)}",
            found=shown(value),
            cure=f"set {spot.name} to {shown(number.high)} or less",
        )  # fmt: skip
    return at(
        spot, "FX0206", spot.mark, message="out of range",
        expected=describe(FieldType(spot.type.options, spot.type.nullable)),
        found=shown(value), cure=f"write {_a_number(spot)}{bounds(number)}",
    )  # fmt: skip


def _a_number(spot: Spot) -> str:
    return "an integer" if any(isinstance(o, Number) and o.integer for o in spot.type.options) else "a number"


def _not_a_word(spot: Spot, value: Any, words: Words) -> Problem:
    known = [str(word) for word in words.words]
    is_activation = set(known) == set(get_args(Activation))
    function = SYNONYMS.get(plain(value)) if isinstance(value, str) else None
    near = nearest(str(value), known)
    gated = meant_kind(str(value), FeedForward) if is_activation else None
    cure = f"write {near}" if near else "write one of them"
    if function in known:
        cure = f"write {function}, which is the same function"
    elif gated is not None:
        cure = f"write kind: {gated[0]}{f', with {gated[1]}' if gated[1] else ''}; {value} is no activation"
    return at(
        spot, "FX0207", spot.mark, message="not an activation" if is_activation else "not one of the words",
        expected=describe(spot.type), found=shown(value), cure=cure,
    )  # fmt: skip


# ---- names, sets, texts


def _bad_name(spot: Spot, context: Mapping[str, Any]) -> Problem:
    name, free, model = str(context["name"]), str(context["free"]), context["reason"] == "model"
    node = spot.node
    is_key = not model and node is not None and name in node.entries
    mark = node.keys.get(name, spot.mark) if node is not None and is_key else spot.mark
    pattern = "[a-z0-9][a-z0-9._-]*" if model else BAD_NAMES
    why = "a name that is taken" if context["reason"] == "reserved" else "not a name"
    path = (*spot.path, name) if is_key else spot.path
    return at(spot, "FX0209", mark, path=path, message=why, expected=pattern, found=shown(name), cure=f"write {free}")


def bad_variant(node: Node, name: str) -> Problem:
    """A variant whose name does not match the pattern; keywords and reserved words are allowed there."""
    return placed(
        problem(
            "FX0209", path=dotted((*node.path, name)), message="not a name", expected=PATTERN.pattern,
            found=shown(name),
            cure=f"write {free_name(name)}",
        ), node.keys.get(name, node.mark),
    )  # fmt: skip


def _word_twice(spot: Spot, context: Mapping[str, Any]) -> Problem:
    del context
    return at(
        spot, "FX0207", spot.mark, message="a word twice in a set", expected="each word once",
        found=shown(spot.node.plain()) if spot.node else "nothing", cure="delete one of the two",
    )  # fmt: skip


def _empty_set(spot: Spot, context: Mapping[str, Any]) -> Problem:
    del context
    return at(
        spot, "FX0207", spot.mark, message="an empty set", expected=describe(spot.type), found="[]",
        cure=f"leave {spot.name} out, or name at least one",
    )  # fmt: skip


def _one_line(spot: Spot, context: Mapping[str, Any]) -> Problem:
    del context
    return at(
        spot, "FX0205", spot.mark, message="more than one line", expected="a text of one line", found="a line break",
        cure="write it on one line",
    )  # fmt: skip


def _no_blocks(spot: Spot, context: Mapping[str, Any]) -> Problem:
    del context
    return at(
        spot, "FX0202", spot.mark, message="there are no blocks", expected="at least one block", found="{}",
        cure="add a block under blocks: a name, and a mapping with its kind",
    )  # fmt: skip


_SPECIAL: dict[str, Callable[[Spot, Mapping[str, Any]], Problem]] = {
    "extra_forbidden": unknown_field,
    "missing": missing_field,
    "kind_missing": _kind_missing,
    "kind_type": _kind_type,
    "kind_unknown": _kind_unknown,
    "kind_later": _kind_later,
    "kind_misplaced": _kind_misplaced,
    "bad_name": _bad_name,
    "word_twice": _word_twice,
    "empty_set": _empty_set,
    "one_line": _one_line,
    "no_blocks": _no_blocks,
}
