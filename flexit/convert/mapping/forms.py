"""Forms: what a mapping file may write where a value depends on the configuration.

``$key`` is the value of a key; ``{$name: ..., ...}`` is the form of that name. A form can be filled (configuration to
spec) and read (spec to configuration), and says so in one class, so that one text serves both directions.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from math import isclose
from typing import Any, ClassVar, cast

Data = dict[str, Any]

ABSENT = "$absent"
"""Written for a value: the key is left out."""
HOMES = ("choices", "numbers", "rotary", "activations", "per_layer")
"""Modules of this package that define forms."""


class Mismatch(Exception):
    """A spec does not say what a mapping file would make.

    Attributes:
        path: where in the spec.
        expected, found: what the file would write there, and what is there.
    """

    def __init__(self, expected: object, found: object, path: tuple[str, ...] = ()) -> None:
        super().__init__(f"{'.'.join(path)}: expected {expected}, found {found}")
        self.path, self.expected, self.found = path, expected, found

    def below(self, key: str) -> Mismatch:
        """The same one, seen from further up."""
        return Mismatch(self.expected, self.found, (key, *self.path))


class Incomplete(Exception):
    """A configuration lacks a key, or has a value that a mapping file has no word for.

    Attributes:
        key: the key of the configuration.
        expected, found: what may stand there, and what does.
    """

    def __init__(self, key: str, expected: str, found: object) -> None:
        super().__init__(f"{key}: expected {expected}, found {found}")
        self.key, self.expected, self.found = key, expected, found


class Form(ABC):
    """A form of mapping files; a subclass gives its name and the keys that may stand beside it."""

    name: ClassVar[str]
    arguments: ClassVar[frozenset[str]] = frozenset()

    @staticmethod
    @abstractmethod
    def fill(args: Data, scope: Scope) -> Any:
        """The value that ``{$name: args['']}, ...}`` stands for; ``args['']`` is what follows the name itself."""

    @staticmethod
    @abstractmethod
    def read(args: Data, value: Any, found: Found) -> None:
        """Note what the keys must have been for ``value`` to come out.

        Raises:
            Mismatch: nothing gives that value.
        """


@cache
def forms() -> Mapping[str, type[Form]]:
    """Every form by name."""
    known: dict[str, type[Form]] = {}
    for home in HOMES:
        module = importlib.import_module(f"flexit.convert.mapping.{home}")
        for entry in vars(module).values():
            if isinstance(entry, type) and issubclass(entry, Form) and "name" in vars(entry):
                known[entry.name] = entry
    return known


def form_of(template: Any) -> tuple[type[Form], Data] | None:
    """The form that a mapping is, with its arguments; None of anything else."""
    if not isinstance(template, dict):
        return None
    entries = cast("Data", template)
    names = [key for key in entries if key.startswith("$")]
    if not names:
        return None
    args = {key.removeprefix(names[0]): value for key, value in entries.items()}
    return forms()[names[0][1:]], args


class Scope:
    """A configuration as forms see it.

    Attributes:
        config: its keys.
        defaults: values, or forms, of keys that it leaves out.
        per_layer: keys whose value is a list with an entry for each layer.
        layer: the layer that is being written, if any.
        used: keys that were asked for.
    """

    def __init__(
        self, config: Data, defaults: Data, per_layer: frozenset[str], *, layer: int | None = None,
        used: set[str] | None = None,
    ) -> None:  # fmt: skip
        self.config, self.defaults, self.per_layer, self.layer = config, defaults, per_layer, layer
        self.used: set[str] = set() if used is None else used

    def at(self, layer: int) -> Scope:
        """The same configuration, for one layer."""
        return Scope(self.config, self.defaults, self.per_layer, layer=layer, used=self.used)

    def value(self, key: str) -> Any:
        """The value of a key, in a layer its entry for the layer.

        Raises:
            Incomplete: there is none.
        """
        whole = self.whole(key)
        if key not in self.per_layer or self.layer is None:
            return whole
        if not isinstance(whole, list) or self.layer >= len(cast("list[Any]", whole)):
            raise Incomplete(key, f"a list with an entry for layer {self.layer}", whole)
        return cast("list[Any]", whole)[self.layer]

    def whole(self, key: str) -> Any:
        """The value of a key: what is given, unless that is null and there is a default that replaces null."""
        self.used.add(key)
        given = self._given(key)
        default = self.defaults.get(key)
        keeps_null = isinstance(default, dict) and "$missing" in default
        if given is not None or (key in self.config and keeps_null):
            return given
        if key in self.defaults:
            return Scope(self.config, self.defaults, self.per_layer, used=self.used).fill(self.defaults[key])
        if key in self.config:
            return None
        raise Incomplete(key, "a value", "nothing")

    def _given(self, key: str) -> Any:
        """What a key holds; of ``outer.inner`` also where it stands in a mapping."""
        outer, _, inner = key.partition(".")
        holder = self.config.get(outer)
        if inner and key not in self.config and isinstance(holder, dict):
            return cast("Data", holder).get(inner)
        return self.config.get(key)

    def has(self, key: str) -> bool:
        """Whether a key has a value other than null."""
        return key in self.config and self.config[key] is not None

    def knows(self, key: str) -> bool:
        """Whether a key has a value other than null, or a default."""
        return self.has(key) or key in self.defaults

    def fill(self, template: Any) -> Any:
        """The value that a template stands for; ``ABSENT`` where it is to be left out."""
        form = form_of(template)
        if form is not None:
            return self._formed(*form)
        if isinstance(template, str):
            return self.value(template[1:]) if is_key(template) else template
        if isinstance(template, list):
            return [value for each in cast("list[Any]", template) if not is_absent(value := self.fill(each))]
        if isinstance(template, dict):
            entries = cast("Data", template)
            if repeats(entries):
                from flexit.convert.mapping.layers import fill_stack

                return fill_stack(entries, self)
            return {key: value for key, each in entries.items() if not is_absent(value := self.fill(each))}
        return template

    def _formed(self, form: type[Form], args: Data) -> Any:
        """What a form gives; a value that it cannot work with is the configuration's fault."""
        try:
            return form.fill(args, self)
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            keys = [key for key in keys_in(args) if key in self.config]
            found = {key: self.config[key] for key in keys}
            raise Incomplete(", ".join(keys) or form.name, f"values that {form.name} can use", found) from error


class Found:
    """What is known of a configuration from a spec.

    Attributes:
        keys: values of keys; of keys per layer a mapping from layer to value.
        layer: the layer that is being read, if any.
        agreed: how many values have been read, which says how near a spec is that does not fit.
    """

    def __init__(self, per_layer: frozenset[str]) -> None:
        self.per_layer = per_layer
        self.keys: Data = {}
        self.layer: int | None = None
        self.agreed = 0

    def bind(self, key: str, value: Any) -> None:
        """Note that a key has a value.

        Raises:
            Mismatch: it has another one.
        """
        key = key.removeprefix("$")
        if key in self.per_layer and self.layer is not None:
            entries: dict[int, Any] = self.keys.setdefault(key, {})
            known = entries.setdefault(self.layer, value)
        else:
            known = self.keys.setdefault(key, value)
        if not same(known, value):
            raise Mismatch(f"{known}, as elsewhere ({key})", value)

    def knows(self, key: str) -> bool:
        """Whether anything is known of a key, in a layer of its entry for the layer."""
        if key in self.per_layer and self.layer is not None:
            return self.layer in self.keys.get(key, {})
        return key in self.keys

    def known(self, key: str) -> Any:
        """The value of a key as far as it is known."""
        value = self.keys.get(key)
        if key in self.per_layer and self.layer is not None and isinstance(value, dict):
            return cast("dict[int, Any]", value).get(self.layer)
        return value

    def whole(self, key: str) -> Any:
        """The value of a key, of keys per layer a list."""
        value = self.keys[key]
        if key not in self.per_layer or not isinstance(value, dict):
            return value
        entries = cast("dict[int, Any]", value)
        return [entries.get(layer) for layer in range(max(entries) + 1)]

    def attempt(self, *trials: Callable[[], None]) -> None:
        """Do the first of several things that fits and needs no null, else the first that fits; of the others nothing
        is noted.

        Raises:
            Mismatch: none does; that which got furthest.
        """
        best: Mismatch | None = None
        fallback: Data | None = None
        before = self.keys
        for trial in trials:
            self.keys = {key: dict(value) if isinstance(value, dict) else value for key, value in before.items()}
            try:
                trial()
            except Mismatch as error:
                if best is None or len(error.path) > len(best.path):
                    best = error
                continue
            if not any(value is None for key, value in self.keys.items() if key not in before):
                return
            fallback = self.keys if fallback is None else fallback
        if fallback is None:
            self.keys = before
            assert best is not None
            raise best
        self.keys = fallback

    def read(self, template: Any, value: Any) -> None:
        """Note what must hold for a template to give ``value``; canonical values agree with short forms.

        Raises:
            Mismatch: it cannot.
        """
        form = form_of(template)
        if form is not None:
            form[0].read(form[1], value, self)
        elif is_key(template):
            self.bind(template, value)
        elif isinstance(template, dict):
            self._read_mapping(cast("Data", template), value)
        elif not agrees(template, value):
            raise Mismatch(template, value)
        self.agreed += not isinstance(template, dict)

    def _read_mapping(self, template: Data, value: Any) -> None:
        if not isinstance(value, dict):
            raise Mismatch(template.get("kind", "a mapping"), value)
        entries = cast("Data", value)
        if repeats(template):
            from flexit.convert.mapping.layers import read_stack

            read_stack(template, entries, self)
            return
        for key, each in template.items():
            try:
                self.read(each, entries.get(key))
            except Mismatch as error:
                raise error.below(key) from error


def keys_in(template: Any) -> set[str]:
    """Every text in a template, among them the keys that it names."""
    if isinstance(template, dict):
        entries = cast("Data", template)
        return {*entries, *(text for each in entries.values() for text in keys_in(each))}
    if isinstance(template, list):
        return {text for each in cast("list[Any]", template) for text in keys_in(each)}
    return {template.removeprefix("$")} if isinstance(template, str) else set()


def repeats(template: Data) -> bool:
    """Whether a template is a block that repeats a layer."""
    return "n_layers" in template and "layer" in template


def is_key(template: Any) -> bool:
    """Whether a template is the value of a key."""
    return isinstance(template, str) and template.startswith("$") and template != ABSENT


def is_absent(value: Any) -> bool:
    """Whether a filled value is to be left out."""
    return isinstance(value, str) and value == ABSENT


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, numbers but for rounding."""
    numbers = [isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other)]
    return isclose(one, other, rel_tol=1e-9) if all(numbers) else one == other


def agrees(template: Any, value: Any) -> bool:
    """Whether a constant of a template says what a canonical value says: a kind alone may stand for its mapping."""
    if is_absent(template):
        return True  # that nothing else is written is checked on the whole spec
    if isinstance(value, dict) and isinstance(template, str):
        return cast("Data", value).get("kind") == template
    if isinstance(value, dict) and isinstance(template, dict):
        entries, values = cast("Data", template), cast("Data", value)
        return all(agrees(each, values.get(key)) for key, each in entries.items())
    return same(template, value)
