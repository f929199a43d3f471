"""A spec written in Python. Blocks are added one by one; every mistake is reported with the caller's own line."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from flexit.errors import Problem, SpecError
from flexit.ir import registry
from flexit.ir.block import Block, Port
from flexit.ir.diagnostics import problem
from flexit.ir.faults import placed
from flexit.ir.language.names import PATTERN
from flexit.ir.language.template import as_written
from flexit.ir.language.written import MAX_NESTING, Mark, Node, line_of
from flexit.ir.spec import Spec
from flexit.ir.wording import shown

PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"


@dataclass(frozen=True, slots=True)
class Ref:
    """An output of a block or a graph input, to be wired to other blocks."""

    edge: str

    @property
    def layers(self) -> Ref:
        """The outputs of all layers; index it for one of them."""
        return Ref(f"{self.edge}.layers")

    def __getitem__(self, index: int) -> Ref:
        return Ref(f"{self.edge}[{index}]")

    def port(self, name: str) -> Ref:
        """Another output port."""
        return Ref(f"{self.edge}.{name}")

    def each(self, order: str = "same") -> EachLayer:
        """One layer per layer of the block it is given to: in the same order, or ``reversed``."""
        return EachLayer(self.edge, order)

    def __str__(self) -> str:
        return self.edge


@dataclass(frozen=True, slots=True)
class EachLayer:
    """The layers of a block, one for each layer of another."""

    name: str
    order: str


@dataclass(frozen=True, slots=True)
class Part:
    """A block or another kind as the value of a field, with the line that made it."""

    node: Node


class Graph:
    """A spec under construction: one method per kind of block.

        g = Graph("tiny")
        x = g.embedding(vocab_size=1000, d_model=64)
        g.lm_head(x, tied_to="embedding")
        spec = g.spec()

    A method takes the edges it reads (none: the block before), fields, ``name`` (else its kind), and further ports by
    name. Names that Python reserves are written with an underscore after them.
    """

    def __init__(self, name: str, *, description: str | None = None, init: Mapping[str, Any] | None = None) -> None:
        self._mark = here()
        self._document: dict[str, Any] = {"flexit": 1, "name": name}
        self._document |= {"description": description} if description is not None else {}
        self._document |= {"init": init} if init is not None else {}
        self._inputs: dict[str, Node] = {}
        self._outputs: dict[str, Node] = {}
        self._blocks: dict[str, Node] = {}
        self._problems: list[Problem] = []

    def input(self, name: str, kind: str = "tokens", **fields: Any) -> Ref:
        """Declare a graph input; without any there is ``input_ids`` of kind ``tokens``."""
        self._put(self._inputs, ("inputs", name), node_of({"kind": kind, **fields}, here()))
        return Ref(name)

    def output(self, name: str, edge: Ref) -> None:
        """Declare a graph output; without any it is the last block."""
        self._put(self._outputs, ("outputs", name), node_of(edge, here()))

    def block(self, kind: str, *edges: Ref, name: str | None = None, **fields: Any) -> Ref:
        """Add a block of any kind; the methods named after kinds do the same."""
        mark = here()
        ports = {_plain(key): value for key, value in fields.items() if isinstance(value, Ref | EachLayer)}
        values = {_plain(key): value for key, value in fields.items() if not isinstance(value, Ref | EachLayer)}
        wired = _wired(kind, edges, ports)
        name = name or kind.rpartition(":")[2]
        data = {"kind": kind, **({} if wired is None else {"from": wired}), **values}
        self._put(self._blocks, ("blocks", name), node_of(data, mark))
        return Ref(name)

    def spec(self) -> Spec:
        """The spec.

        Raises:
            SpecError: it is not valid; places are lines of the program that built it.
        """
        from flexit.ir.io.load import check_tree

        if self._problems:
            raise SpecError(self._problems)
        data: dict[str, Any] = dict(self._document)
        for key, entries in (("inputs", self._inputs), ("outputs", self._outputs), ("blocks", self._blocks)):
            if entries or key == "blocks":
                data[key] = Part(Node(dict(entries), (), self._mark, {k: n.mark for k, n in entries.items() if n.mark}))
        checked = check_tree(node_of(data, self._mark).at(()))
        if not checked.valid or checked.spec is None:
            raise SpecError(checked.problems)
        return checked.spec

    def _put(self, scope: dict[str, Node], path: tuple[str, str], node: Node) -> None:
        name = path[1]
        if not isinstance(cast("object", name), str):
            wrong = problem("FX0209", path=path[0], message="not a name", expected=PATTERN.pattern, found=shown(name),
                            cure="give a text as name=")  # fmt: skip
            self._problems.append(placed(wrong, node.mark))
            return
        if name in scope:
            taken = problem(
                "FX0103", path=".".join(path), message="the name is taken", expected="each name once in a scope",
                found=f"{shown(name)} again{line_of(scope[name], ', first on line {}')}",
                cure="give one of the two another name=",
            )  # fmt: skip
            self._problems.append(placed(taken, node.mark))
        scope.setdefault(name, replace(node, key=node.mark))

    def __getattr__(self, kind: str) -> Callable[..., Ref]:
        if kind.startswith("_"):
            raise AttributeError(kind)

        def add(*edges: Ref, **fields: Any) -> Ref:
            return self.block(kind, *edges, **fields)

        found = registry.find(Block, kind)
        add.__name__, add.__doc__ = kind, None if found is None else found.__doc__

        return add

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *registry.names(Block)]


def part(kind: str, **fields: Any) -> Part:
    """A kind as the value of a field."""
    return Part(node_of({"kind": kind, **{_plain(key): value for key, value in fields.items()}}, here()))


def node_of(value: Any, mark: Mark, *, depth: int = 0) -> Node:
    """A value given in Python as a part of a document; parts made elsewhere keep their lines.

    Raises:
        SpecError: FX0105, it is nested too deeply, as what contains itself is.
    """
    if depth > MAX_NESTING:
        raise SpecError([
            placed(problem(
                "FX0105", path="", message="nested too deeply", expected=f"at most {MAX_NESTING} levels",
                found="more, as a mapping or list that contains itself has", cure="write it flatter",
            ), mark)
        ])  # fmt: skip
    if isinstance(value, Part):
        return value.node
    if isinstance(value, Ref):
        return Node(str(value), (), mark)
    if isinstance(value, EachLayer):
        return node_of({"each": value.name, "order": value.order}, mark)
    if hasattr(value, "model_fields_set"):
        value = as_written(value)
    if isinstance(value, Mapping):
        given = cast("Mapping[Any, Any]", value)
        entries = {str(key): node_of(entry, mark, depth=depth + 1) for key, entry in given.items()}
        return Node(
            {key: replace(node, key=mark) for key, node in entries.items()}, (), mark, dict.fromkeys(entries, mark)
        )
    if isinstance(value, set | frozenset):
        value = sorted(cast("set[Any]", value))
    if isinstance(value, list | tuple):
        return Node([node_of(entry, mark, depth=depth + 1) for entry in cast("list[Any]", value)], (), mark)
    return Node(value, (), mark)


def here() -> Mark:
    """The line outside this package that is being executed."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    assert frame is not None
    places = list(frame.f_code.co_positions())
    column = places[frame.f_lasti // 2][2] if 0 <= frame.f_lasti // 2 < len(places) else None
    return Mark(frame.f_code.co_filename, frame.f_lineno, (column or 0) + 1)


def _plain(name: str) -> str:
    return name[:-1] if name.endswith("_") else name


def _wired(kind: str, edges: tuple[Ref, ...], ports: Mapping[str, Ref | EachLayer]) -> Any:
    """What ``from`` says for positional edges and ports by name."""
    cls = registry.find(Block, kind)
    declared: Mapping[str, Port] = cls.inputs if cls is not None and issubclass(cls, Block) else {}
    main = next(iter(declared), "x")
    if not ports:
        several = list(edges) if len(edges) > 1 or (edges and main in declared and declared[main].variadic) else None
        if several is not None and (not declared or declared[main].variadic):
            return several[0] if len(several) == 1 and several[0].edge.endswith(".layers") else several
        if len(edges) <= 1:
            return edges[0] if edges else None
    names = list(declared)
    by_position = dict(zip(names, edges, strict=False)) if len(edges) <= len(names) else {main: list(edges)}
    return {**by_position, **ports}
