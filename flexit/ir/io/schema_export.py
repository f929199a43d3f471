"""The JSON Schema of a language, for editors; the files in ``schemas/`` are made with it, and a test fails on drift.

It says what a single document can show: fields, types, kinds. Edges, merged layers and shapes are beyond it.
"""

from __future__ import annotations

import inspect
import json
from typing import Any, cast

from flexit.ir import registry
from flexit.ir.block import Block
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
    Words,
    as_slot,
    fields,
)
from flexit.ir.language.describe import family_name
from flexit.ir.language.kinds import Group, Kind, field_docs

NAME = "^[a-z][a-z0-9_]{0,63}$"
PLUGIN = "^[a-z][a-z0-9_.-]*:[a-z][a-z0-9_]*$"
NAMED = ("inputs", "outputs", "blocks", "variants")
"""Fields whose keys are names."""
EDGE = {
    "type": "string",
    "description": "A block, BLOCK.PORT, BLOCK.layers[i], a port of the composite, or a graph input",
}
LIST = {"type": "array", "items": EDGE, "minItems": 2, "description": "Edges into a port that takes several, in order"}
EACH = {
    "type": "object",
    "description": "Layer i of this stack reads one layer of another stack",
    "required": ["each"],
    "properties": {
        "each": {"type": "string", "description": "The other stack"},
        "order": {"enum": ["same", "reversed"], "default": "same", "description": "reversed: the layer n - 1 - i"},
    },
    "additionalProperties": False,
}
EDGES = {
    "anyOf": [
        EDGE, LIST,
        {"type": "object", "description": "Edges by port", "additionalProperties": {"anyOf": [EDGE, LIST, EACH]}},
    ],
}  # fmt: skip

Schema = dict[str, Any]


def schema_of(cls: type[Group], title: str) -> Schema:
    """The schema of a document with the fields of ``cls``, and of the kinds that are built in."""
    exporter = _Exporter()
    document = exporter.mapping(cls, fields(cls))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **document,
        "$defs": dict(sorted(exporter.definitions.items())),
    }


def schema_text(cls: type[Group], title: str) -> str:
    """The schema as it stands in a file."""
    return json.dumps(schema_of(cls, title), indent=1, ensure_ascii=False) + "\n"


class _Exporter:
    """Collects one definition per family, trait, kind and group."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def mapping(self, cls: type[Group], known: dict[str, Entry]) -> Schema:
        """The fields of a class; nothing else is allowed in it."""
        docs = field_docs(cls)
        properties = {
            name: {**self._property(name, entry), "description": " ".join(docs[entry.attribute].split())}
            for name, entry in known.items()
        }
        schema: Schema = {"type": "object", "description": _first_line(cls), "properties": properties}
        required = [name for name, entry in known.items() if entry.required]
        return {**schema, **({"required": required} if required else {}), "additionalProperties": False}

    def _property(self, name: str, entry: Entry) -> Schema:
        if name == "from":
            return dict(EDGES)
        schema = self._type(entry.type, named=name in NAMED, entries=name == "blocks")
        if entry.required or entry.inferred or (entry.default is None and not entry.type.nullable):
            return schema
        return {**schema, "default": _plain(entry.default)}

    def _type(self, type_: FieldType, *, named: bool = False, entries: bool = False) -> Schema:
        options = [self._option(option, named=named, entries=entries) for option in type_.options]
        options += [{"type": "null"}] if type_.nullable else []
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _option(self, option: Option, *, named: bool = False, entries: bool = False) -> Schema:
        match option:
            case Number():
                return _number(option)
            case Flag():
                return {"type": "boolean"}
            case Text():
                return {"type": "string"}
            case Words(words=words):
                return {"enum": list(words)}
            case ListOf(item=item):
                return {"type": "array", "items": self._type(item)}
            case MapOf(value=value):
                inside = self._family(Block, entries=True) if entries else self._type(value)
                names: Schema = {"propertyNames": {"pattern": NAME}} if named else {}
                return {"type": "object", "additionalProperties": inside, **names}
            case _:
                return self._mapped(option)

    def _mapped(self, option: Option) -> Schema:
        match option:
            case GroupOf(cls=cls):
                return self._group(cls)
            case KindOf(partial=True):
                return {"type": ["object", "string"]}
            case KindOf(trait=trait):
                return self._family(trait)
            case _:
                return {}

    def _group(self, cls: type[Group]) -> Schema:
        name = f"group.{cls.__name__}"
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self.mapping(cls, fields(cls))
        return {"$ref": f"#/$defs/{name}"}

    def _family(self, trait: type[Kind], *, entries: bool = False) -> Schema:
        """Any kind of a family or trait: its bare name, or a mapping; a plugin's kind is an open mapping."""
        name = f"any.{family_name(trait)}{'.entry' if entries else ''}"
        if name not in self.definitions:
            self.definitions[name] = {}
            built_in = [kind for kind in registry.names(trait) if ":" not in kind]
            plugin = {
                "type": "object",
                "required": ["kind"],
                "properties": {"kind": {"type": "string", "pattern": PLUGIN, "description": "A kind of a plugin"}},
            }
            bare = [kind for kind in built_in if not _required(_class(trait, kind))]
            alternatives: list[Schema] = [{"enum": bare}] if bare else []
            alternatives += [{"type": "string", "pattern": PLUGIN}, plugin]
            alternatives += [self._kind(trait, kind, entries=entries) for kind in built_in]
            self.definitions[name] = {"description": _first_line(trait), "anyOf": alternatives}
        return {"$ref": f"#/$defs/{name}"}

    def _kind(self, trait: type[Kind], kind: str, *, entries: bool) -> Schema:
        cls = _class(trait, kind)
        name = f"{cls.family}.{kind}{'.entry' if entries else ''}"
        if name not in self.definitions:
            self.definitions[name] = {}
            schema = self.mapping(cls, fields(cls) if entries else as_slot(cls))
            schema["properties"] = {"kind": {"const": kind, "description": _first_line(cls)}, **schema["properties"]}
            schema["required"] = ["kind"]
            required = _required(cls)
            if required and entries:  # what is missing comes from the block it shares with
                schema["anyOf"] = [{"required": ["shares"]}, {"required": required}]
            elif required:
                schema["required"] += required
            self.definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}


def _class(trait: type[Kind], kind: str) -> type[Kind]:
    cls = registry.find(trait, kind)
    assert cls is not None
    return cls


def _required(cls: type[Group]) -> list[str]:
    return [name for name, entry in fields(cls).items() if entry.required]


def _number(option: Number) -> Schema:
    schema: Schema = {"type": "integer" if option.integer else "number"}
    if option.low is not None:
        schema["exclusiveMinimum" if option.low_strict else "minimum"] = option.low
    if option.high is not None:
        schema["exclusiveMaximum" if option.high_strict else "maximum"] = option.high
    return schema


def _plain(value: Any) -> Any:
    if isinstance(value, Kind):
        return value.kind
    if isinstance(value, Group):
        return {}
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in cast("dict[str, Any]", value).items()}
    return value


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]
