"""A document as written: plain data in which every value knows its place in the text. Overrides merge on this form,
so that an error cites the line the user wrote, whichever mapping it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

Scalar = str | int | float | bool | None
MAX_NESTING = 64
"""Mappings and lists inside each other."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text, 1-based."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value as written.

    Attributes:
        value: a scalar, a mapping of nodes or a list of nodes.
        path: keys from the top of the document to where it was written.
        mark: place of the value, where the text is known.
        keys: for a mapping, the places of its keys.
        touched: whether ``--set`` or a grid wrote in here.
        key: place of the key it stands under, if any.
    """

    value: Scalar | dict[str, Node] | list[Node]
    path: tuple[str | int, ...] = ()
    mark: Mark | None = None
    keys: Mapping[str, Mark] = field(default_factory=dict[str, Mark])
    touched: bool = False
    key: Mark | None = None

    @staticmethod
    def of(data: Any, path: tuple[str | int, ...] = ()) -> Node:
        """The node of plain data, without places."""
        if isinstance(data, Node):
            return data.at(path) if path else data
        if isinstance(data, Written):
            return data.node
        if isinstance(data, Mapping):
            entries = cast("Mapping[str, Any]", data)
            return Node({str(key): Node.of(value, (*path, str(key))) for key, value in entries.items()}, path)
        if isinstance(data, list | tuple):
            return Node([Node.of(value, (*path, i)) for i, value in enumerate(cast("list[Any]", data))], path)
        return Node(data, path)

    @property
    def entries(self) -> dict[str, Node]:
        """The mapping, empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def dotted(self) -> str:
        """The path as messages show it."""
        return dotted(self.path)

    def plain(self) -> Any:
        """The data; mappings remember their node (:class:`Written`)."""
        if isinstance(self.value, dict):
            return Written({key: node.plain() for key, node in self.value.items()}, node=self)
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: tuple[str | int, ...]) -> tuple[Node, tuple[str | int, ...]]:
        """The deepest node along ``path``, and what of the path is left."""
        node = self
        for index, key in enumerate(path):
            if isinstance(node.value, dict) and str(key) in node.value:
                node = node.value[str(key)]
            elif isinstance(node.value, list) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
            else:
                return node, path[index:]
        return node, ()

    def at(self, path: tuple[str | int, ...], key: Mark | None = None) -> Node:
        """The same value as if it were written at ``path``; places stay."""
        value = self.value
        if isinstance(value, dict):
            value = {name: node.at((*path, name), node.key) for name, node in value.items()}
        elif isinstance(value, list):
            value = [node.at((*path, index)) for index, node in enumerate(value)]
        return Node(value, path, self.mark, self.keys, self.touched, key or self.key)

    def as_touched(self) -> Node:
        """The same value as if ``--set`` had written all of it."""
        value = self.value
        if isinstance(value, dict):
            value = {name: node.as_touched() for name, node in value.items()}
        elif isinstance(value, list):
            value = [node.as_touched() for node in value]
        return replace(self, value=value, touched=True)

    def walk(self) -> Iterator[Node]:
        """This node and all below."""
        yield self
        children = self.value.values() if isinstance(self.value, dict) else self.value
        if isinstance(children, str) or not hasattr(children, "__iter__"):
            return
        for child in cast("list[Node]", children):
            yield from child.walk()


class Written(dict[str, Any]):
    """A plain mapping that remembers the node it came from."""

    def __init__(self, data: Mapping[str, Any], *, node: Node) -> None:
        super().__init__(data)
        self.node = node


def dotted(path: tuple[str | int, ...]) -> str:
    """``blocks.decoder.layers[3]`` for a path of keys and indices."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def line_of(node: Node | None, form: str = " (line {})") -> str:
    """`` (line 12)``, or nothing where the line is unknown."""
    mark = (node.key or node.mark) if node is not None else None
    return form.format(mark.line) if mark is not None and mark.line else ""
