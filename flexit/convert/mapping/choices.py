"""Forms that choose: by a condition, by the value of a key, by a table of words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from flexit.convert.mapping.forms import ABSENT, Data, Form, Found, Incomplete, Mismatch, Scope, is_absent, is_key, same


class If(Form):
    """``{$if: key, then: A, else: B}``: A where the key is neither null, false nor 0; B, or nothing, elsewhere.

    ``{$if: {key: value, ...}, ...}``: A where each key has that value, which may be that of another key.
    """

    name = "if"
    arguments = frozenset({"then", "else"})

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        return scope.fill(args.get("then" if holds_in(args[""], scope) else "else", ABSENT))

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        condition = args[""]

        def holds() -> None:
            if isinstance(condition, dict):
                for key, wanted in cast("Data", condition).items():
                    told = found.known(wanted[1:]) if is_key(wanted) else wanted
                    if told is not None or not is_key(wanted):
                        found.bind(key, told)
            found.read(args.get("then", ABSENT), value)
            if isinstance(condition, str):
                if found.knows(condition) and not found.known(condition):
                    raise Mismatch(f"a value of {condition}", value)
                if not found.knows(condition):
                    found.bind(condition, True)

        def fails() -> None:
            found.read(args.get("else", ABSENT), value)
            _bind_failed(condition, args, found)

        says = "then" in args if value is not None else "then" not in args
        found.attempt(*((holds, fails) if says else (fails, holds)))


def _bind_failed(condition: Any, args: Data, found: Found) -> None:
    """Note that a condition does not hold, where that says what a key is."""
    if isinstance(condition, str):
        if found.knows(condition) and not found.known(condition):
            return
        found.bind(condition, None if f"${condition}" in json.dumps(args.get("then")) else False)
        return
    entries = cast("Data", condition)
    key, wanted = next(iter(entries.items()))
    if len(entries) == 1 and isinstance(wanted, bool):
        found.bind(key, not wanted)


def holds_in(condition: Any, scope: Scope) -> bool:
    """Whether a condition of ``$if`` holds."""
    if isinstance(condition, dict):
        return all(same(scope.value(key), scope.fill(wanted)) for key, wanted in cast("Data", condition).items())
    return bool(scope.value(str(condition)))


class Case(Form):
    """``{$case: key, of: {word: A, ...}, else: B}``: what stands under the value of the key.

    Words under which the same stands leave open which of them the key was.
    """

    name = "case"
    arguments = frozenset({"of", "else"})

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        key, options = str(args[""]), cast("Data", args["of"])
        value = _word(scope.value(key))
        if value in options:
            return scope.fill(options[value])
        if "else" in args:
            return scope.fill(args["else"])
        raise Incomplete(key, f"one of {', '.join(options)}", value)

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        key, options = str(args[""]), cast("Data", args["of"])

        def chosen(word: str, template: Any) -> None:
            if found.knows(key) or list(options.values()).count(template) == 1:
                found.bind(key, _value(word))
            found.read(template, value)

        trials: list[Callable[[], None]] = [partial(chosen, word, template) for word, template in options.items()]
        templates = list(options.values())
        if "else" in args:
            trials.append(lambda: found.read(args["else"], value))
            templates.append(args["else"])
        fits = [is_absent(template) == (value is None) for template in templates]
        found.attempt(*(trials[index] for index in sorted(range(len(trials)), key=lambda index: not fits[index])))


def _word(value: Any) -> str:
    """A value of a configuration as a key of YAML."""
    return {True: "true", False: "false", None: "null"}.get(value, str(value)) if _plain(value) else str(value)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _value(word: str) -> Any:
    known: dict[str, Any] = {"true": True, "false": False, "null": None}
    if word in known:
        return known[word]
    if word.lstrip("-").isdigit():
        return int(word)
    return float(word) if re.fullmatch(r"-?[0-9]+\.[0-9]+", word) else word


class Words(Form):
    """``{$words: key}``: a list of words, which a configuration may also write as one text with ``|`` between them."""

    name = "words"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        value = scope.value(str(args[""]))
        return [word.strip() for word in value.lower().split("|")] if isinstance(value, str) else value

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        found.bind(str(args[""]), value)


class Default(Form):
    """``{$default: value, of: X}``: X, left out where it is ``value``, which is what the spec says without it."""

    name = "default"
    arguments = frozenset({"of"})

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        value = scope.fill(args["of"])
        return ABSENT if same(value, args[""]) else value

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        found.read(args["of"], args[""] if value is None else value)


class Not(Form):
    """``{$not: key}``: true where the key is false."""

    name = "not"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        return not scope.value(str(args[""]))

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        if not isinstance(value, bool):
            raise Mismatch("true or false", value)
        found.bind(str(args[""]), not value)


class Missing(Form):
    """``{$missing: value}``, under ``keys``: a default of a key that a configuration does not have; null stays null."""

    name = "missing"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        return scope.fill(args[""])

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        found.read(args[""], value)


class Equal(Form):
    """``{$equal: [key, other, ...]}``: the value that several keys have, all the same."""

    name = "equal"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        first, *others = cast("list[Any]", args[""])
        value = scope.value(str(first))
        for other in others:
            if not same(scope.value(str(other)), value):
                raise Incomplete(str(other), f"{value}, as {first}", scope.value(str(other)))
        return value

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        for key in cast("list[Any]", args[""]):
            found.bind(str(key), value)
