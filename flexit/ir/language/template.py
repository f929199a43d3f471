"""Parts of a document that are kept as written, because overrides merge into the text before defaults expand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from flexit.ir.language.kinds import Group, Kind
from flexit.ir.language.written import Node


class Template:
    """A block or an override kept as it was written, because overrides merge before defaults expand."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def data(self) -> Any:
        """The plain data."""
        return self.node.plain()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and _bare(self.data) == _bare(other.data)

    def __hash__(self) -> int:
        return hash(repr(_bare(self.data)))

    def __repr__(self) -> str:
        return f"Template({self.data!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(cls._of)

    @classmethod
    def _of(cls, value: Any) -> Template:
        if isinstance(value, Template):
            return value
        if isinstance(value, Kind):
            return cls(Node.of(as_written(value)))
        if isinstance(value, str | Mapping):
            return cls(Node.of(value))
        raise PydanticCustomError("kind_type", "not a kind", {"trait": "Block"})


def _bare(data: Any) -> Any:
    """The data with every kind that has no fields as its bare name, which means the same."""
    if isinstance(data, Mapping):
        entries = cast("Mapping[str, Any]", data)
        return entries["kind"] if list(entries) == ["kind"] else {key: _bare(entry) for key, entry in entries.items()}
    return [_bare(entry) for entry in cast("list[Any]", data)] if isinstance(data, list) else data


def as_written(value: Any) -> Any:
    """Plain data of an object with only the fields that were given."""
    if isinstance(value, Template):
        return value.data
    if isinstance(value, Group):
        fields = type(value).model_fields
        last = [name for name in ("init",) if isinstance(value, Kind) and name in fields]
        data = {
            (fields[name].alias or name): as_written(getattr(value, name))
            for name in (*(name for name in fields if name not in last), *last)
            if name in value.model_fields_set
        }
        return {"kind": value.kind, **data} if isinstance(value, Kind) else data
    if isinstance(value, Mapping):
        return {key: as_written(entry) for key, entry in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [as_written(entry) for entry in cast("list[Any]", value)]
    return value
