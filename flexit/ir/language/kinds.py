"""The base of everything a user types: strict, frozen groups of fields, and kinds chosen by their ``kind`` tag."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, PrivateAttr
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from flexit.ir import registry
from flexit.ir.language.written import Node, Written


class Group(BaseModel):
    """A mapping of fields without a ``kind``."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)

    widths: ClassVar[Mapping[str, int]] = {}
    """Fields that are widths, and how many times the model's width is usual for each."""
    proposed: ClassVar[tuple[str, ...]] = ()
    """Fields that may be left out, and that messages propose nevertheless."""
    later: ClassVar[tuple[str, ...]] = ()
    """Fields of the language that this build does not have yet; each is refused as *not yet*."""


class Kind(Group):
    """One of several alternatives, chosen by ``kind``.

    A family is an abstract subclass (``class Mask(Kind, family="Mask")``); a kind is a final subclass of one
    (``class Causal(Mask, kind="causal")``). A field annotated with a family accepts a bare kind, a mapping with
    ``kind``, or an object. A family derived from a family (``Mixer`` from ``Block``) is a trait: a narrower choice.
    """

    _node: Node | None = PrivateAttr(default=None)
    """Where it was written, for messages."""

    family: ClassVar[str] = ""
    package: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    also_called: ClassVar[Mapping[str, str]] = {}
    """Other names of the kind, each with the field that makes it that, if any: messages say what to write instead."""
    usual: ClassVar[bool] = False
    """Whether it is the one to propose among the kinds that may stand in a place."""

    @property
    def node(self) -> Node | None:
        """Where it was written, if it came from a document."""
        return self._node

    def remember(self, node: Node) -> None:
        """Note where it was written; the one thing about it that is no choice."""
        self._node = node

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        return all(getattr(self, name) == getattr(other, name) for name in type(self).model_fields)

    def __hash__(self) -> int:
        return hash(type(self))

    @classmethod
    def __pydantic_init_subclass__(cls, *, family: str = "", package: str = "", kind: str = "", **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if family:
            cls.family = family
        if package:
            cls.package = package
        cls.kind = kind
        if kind:
            registry.register(cls)

    def __init_subclass__(cls, *, kind: str = "", **kwargs: Any) -> None:
        del kwargs
        cls.kind = kind
        super().__init_subclass__()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if cls.__dict__.get("kind") or source is not cls:
            return handler(source)
        return core_schema.no_info_plain_validator_function(lambda value: choose(cls, value))


def choose(trait: type[Kind], value: Any) -> Kind:
    """The object that ``value`` (a bare kind, a mapping or an object) says, of a kind that has ``trait``.

    Raises:
        PydanticCustomError, ValidationError: it says none.
    """
    if isinstance(value, trait):
        return value
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, dict):
        raise PydanticCustomError("kind_type", "not a kind", {"trait": trait.__name__})
    entries = cast("dict[str, Any]", value)
    if "kind" not in entries:
        raise PydanticCustomError("kind_missing", "kind is missing", {"trait": trait.__name__})
    kind = entries["kind"]
    if not isinstance(kind, str):
        raise PydanticCustomError("kind_type", "kind is no text", {"trait": trait.__name__, "key": "kind"})
    cls = registry.find(trait, kind)
    if cls is None or not issubclass(cls, trait):
        which = "kind_unknown" if cls is None and not _elsewhere(kind) else "kind_misplaced"
        if cls is None and kind in registry.later(trait):
            which = "kind_later"
        raise PydanticCustomError(which, "no such kind here", {"trait": trait.__name__, "kind": kind, "key": "kind"})
    fields = {name: entry for name, entry in entries.items() if name != "kind"}
    chosen = cls.model_validate(fields, by_alias=True, by_name=False)
    if isinstance(value, Written):
        chosen.remember(value.node)
    return chosen


def _elsewhere(kind: str) -> bool:
    """Whether some family has a kind of this name, or will have one."""
    return any(registry.find(family, kind) is not None or kind in registry.later(family) for family in families())


def families() -> list[type[Kind]]:
    """Every root family, imported on demand."""
    return [family for family in Kind.__subclasses__() if family.family]


class _InferredMark:
    """Removes ``None`` from the accepted values: the field is left out where its value is to be inferred."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema


INFERRED = _InferredMark()
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, lt=1)]
InferredInt = Annotated[PositiveInt | None, INFERRED]
InferredBool = Annotated[bool | None, INFERRED]


def distinct(words: list[Any]) -> list[Any]:
    """The words of a set, in the order in which they are written.

    Raises:
        PydanticCustomError: one of them comes twice, or there is none.
    """
    if len(set(words)) != len(words):
        raise PydanticCustomError("word_twice", "a word twice in a set", {})
    if not words:
        raise PydanticCustomError("empty_set", "an empty set", {})
    return words


def is_inferred(cls: type[Group], name: str) -> bool:
    """Whether a field that is not written gets its value from elsewhere."""
    return INFERRED in cls.model_fields[name].metadata


@cache
def field_docs(cls: type[Group]) -> dict[str, str]:
    """Field name -> the docstring under it, own and inherited. Reads the source, so only for pages and schemas."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not issubclass(base, Group):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for entry, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name) and isinstance(after, ast.Expr):
                text = after.value.value if isinstance(after.value, ast.Constant) else None
                if isinstance(text, str):
                    docs[entry.target.id] = inspect.cleandoc(text)
    return docs
