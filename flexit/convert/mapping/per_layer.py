"""Forms that give a list with an entry for each layer, for families whose configuration says it in fewer words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from flexit.convert.mapping.forms import Data, Form, Found, Incomplete, Mismatch, Scope, same

N = "$num_hidden_layers"
"""Where the number of layers stands unless ``n`` beside the form says otherwise."""


def _count(args: Data, scope: Scope) -> int:
    template = args.get("n", N)
    count = scope.fill(template)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= 100_000:
        raise Incomplete(str(template).removeprefix("$"), "a number of layers", count)
    return count


def _entries(args: Data, scope: Scope, hits: Callable[[int], bool]) -> list[Any]:
    hit, miss = scope.fill(args["hit"]), scope.fill(args["miss"])
    return [hit if hits(layer) else miss for layer in range(_count(args, scope))]


def _hits(args: Data, value: Any) -> list[bool]:
    """Which entries of a list are ``hit``, the others being ``miss``."""
    if not isinstance(value, list):
        raise Mismatch("a list with an entry for each layer", value)
    found: list[bool] = []
    for entry in cast("list[Any]", value):
        if not (same(entry, args["hit"]) or same(entry, args["miss"])):
            raise Mismatch(f"{args['hit']} or {args['miss']}", entry)
        found.append(same(entry, args["hit"]))
    return found


class First(Form):
    """``{$first: key, hit: A, miss: B}``: A in as many first layers as the key, or a number, says, B in the others."""

    name = "first"
    arguments = frozenset({"hit", "miss", "n"})

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        first = _whole(args, scope)
        return _entries(args, scope, lambda layer: layer < first)

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        hits = _hits(args, value)
        first = sum(hits)
        if hits != [layer < first for layer in range(len(hits))]:
            raise Mismatch(f"{args['hit']} in the first layers alone", value)
        if isinstance(args[""], str):
            found.bind(args[""], first)
        elif first != min(args[""], len(hits)):
            raise Mismatch(f"{args['hit']} in the first {args['']}", value)


class Every(Form):
    """``{$every: key, hit: A, miss: B}``: A in the last of every ``key`` layers, B in the others.

    ``first: true`` beside it: A in the first of every ``key`` layers. ``besides: other``: B also in the layers whose
    indices the key ``other`` lists.
    """

    name = "every"
    arguments = frozenset({"hit", "miss", "n", "first", "besides"})

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        step = _whole(args, scope)
        if step < 1:
            raise Incomplete(str(args[""]), "a number of layers, 1 or more", step)
        besides = scope.value(str(args["besides"])) or [] if "besides" in args else []
        ahead = 0 if args.get("first") else 1
        return _entries(args, scope, lambda layer: (layer + ahead) % step == 0 and layer not in besides)

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        hits = _hits(args, value)
        count = len(hits)
        ahead = 0 if args.get("first") else 1
        for step in range(1, count + 2):
            wanted = [(layer + ahead) % step == 0 for layer in range(count)]
            if wanted == hits:
                found.bind(str(args[""]), step)
                if "besides" in args:
                    found.bind(str(args["besides"]), [])
                return
        if "besides" not in args:
            raise Mismatch(f"{args['hit']} in one layer of every so many", value)
        found.bind(str(args[""]), 1)
        found.bind(str(args["besides"]), [layer for layer, hit in enumerate(hits) if not hit])


class Among(Form):
    """``{$among: key, hit: A, miss: B}``: A in the layers whose indices the key lists, B in the others."""

    name = "among"
    arguments = frozenset({"hit", "miss", "n"})

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        among = scope.value(str(args[""])) or []
        return _entries(args, scope, lambda layer: layer in among)

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        found.bind(str(args[""]), [layer for layer, hit in enumerate(_hits(args, value)) if hit])


class Entry(Form):
    """``{$entry: [key, n]}``: the n-th entry of a list, counted from 0. Read backwards it leaves the list open."""

    name = "entry"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        key, index = cast("list[Any]", args[""])
        entries = scope.whole(str(key))
        if not isinstance(entries, list) or not index < len(cast("list[Any]", entries)):
            raise Incomplete(str(key), f"a list of more than {index}", entries)
        return cast("list[Any]", entries)[index]

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        del args, value, found


class All(Form):
    """``{$all: value}``: the same in every layer."""

    name = "all"
    arguments = frozenset({"n"})

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        return [scope.fill(args[""])] * _count(args, scope)

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        if not isinstance(value, list):
            raise Mismatch("a list with an entry for each layer", value)
        for entry in cast("list[Any]", value):
            found.read(args[""], entry)


class Runs(Form):
    """``{$runs: key}``: the key is a list of ``[names, times]``, as GPT-Neo's ``attention_types``."""

    name = "runs"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        key = str(args[""])
        given = scope.value(key)
        try:
            return [name for names, times in given for name in list(names) * int(times)]
        except (TypeError, ValueError) as error:
            raise Incomplete(key, "a list of [names, times]", given) from error

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        found.bind(str(args[""]), [[[entry], 1] for entry in cast("list[Any]", value)])


def _whole(args: Data, scope: Scope) -> int:
    value = scope.value(args[""]) if isinstance(args[""], str) else args[""]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Incomplete(str(args[""]), "a whole number", value)
    return value
