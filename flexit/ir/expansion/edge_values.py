"""Edges taken apart into plain values and put together again, which is how blocks become regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from flexit.ir.block import Block
from flexit.ir.expansion.drafts import Draft
from flexit.ir.expansion.edges import Edge, Logits, Sequence, Tokens, Vector
from flexit.ir.program import Value


def values_of(edge: Any) -> list[Value]:
    """The values an edge consists of that are not its axis's."""
    if isinstance(edge, list):
        return [value for one in cast("list[Edge]", edge) for value in values_of(one)]
    if isinstance(edge, Tokens):
        return [edge.ids]
    assert isinstance(edge, Sequence | Vector | Logits)
    return [edge.x]


def rebound(edge: Any, values: Iterator[Value]) -> Any:
    """The same edge (or mapping or list of edges) made of other values."""
    if isinstance(edge, dict):
        return {port: rebound(one, values) for port, one in cast("dict[str, Any]", edge).items()}
    if isinstance(edge, list):
        return [rebound(one, values) for one in cast("list[Any]", edge)]
    if isinstance(edge, Tokens):
        return Tokens(ids=next(values), axis=edge.axis)
    if isinstance(edge, Logits):
        return Logits(x=next(values))
    assert isinstance(edge, Sequence | Vector)
    return edge.of(next(values))


def signature(edge: Any) -> object:
    """What of an edge a region depends on: types and the axis or rows, not the values."""
    if isinstance(edge, list):
        return tuple(signature(one) for one in cast("list[Edge]", edge))
    place = edge.rows if isinstance(edge, Vector) else getattr(edge, "axis", None)
    return (edge.__class__, tuple(value.type for value in values_of(edge)), id(place))


def region_key(block: Block, ports: Mapping[str, Any], draft: Draft, *, provided: Mapping[str, Any]) -> object:
    """Two calls with one key are instances of one region."""
    edges = tuple((port, signature(edge)) for port, edge in ports.items())
    return (id(block), edges, id(draft), tuple((name, id(thing)) for name, thing in provided.items()))


def width_of(ports: Mapping[str, Any]) -> int:
    """Width of the main input, 0 for tokens."""
    first: Any = next(iter(ports.values()), None)
    first = next(iter(cast("list[Edge]", first)), None) if isinstance(first, list) else first
    return first.width if isinstance(first, Sequence | Vector) else 0
