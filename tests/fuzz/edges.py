"""What runs along an edge, as far as legality goes, and what is found out about a document on the way through it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any


@dataclass(frozen=True)
class Edge:
    """An edge.

    Attributes:
        type: tokens, sequence, vector or logits.
        axis: its length: where it begins (a graph input, so many slots, or several lengths joined), and the factors it
            was divided by and the ranges that were cut out of it since.
        tables: ``max_len`` of the position tables on its main path.
    """

    type: str
    width: int = 0
    axis: tuple[Any, ...] = ()
    tables: frozenset[int] = frozenset()

    def of(self, width: int) -> Edge:
        return replace(self, width=width)


Axis = tuple[Any, ...]


def is_plain(axis: Axis) -> bool:
    """Whether it is the length of a graph input."""
    return len(axis) == 1 and isinstance(axis[0], str)


def has_prefix(axis: Axis) -> bool:
    """Whether it is that of a graph input or a range of it, whose first tokens a caller may call the prefix."""
    return isinstance(axis[0], str) and all(isinstance(step, tuple) for step in axis[1:])


def inputs_of(axis: Axis) -> set[str]:
    """Graph inputs that a length depends on."""
    if isinstance(axis[0], str):
        return {axis[0]}
    return set().union(*(inputs_of(part) for part in axis[0][1])) if axis[0][0] == "joined" else set()


def length(axis: Axis, sizes: Callable[[str], int]) -> int:
    """The number of slots, by those of the graph inputs."""
    base, *steps = axis
    if isinstance(base, str):
        slots = sizes(base)
    else:
        slots = sum(length(part, sizes) for part in base[1]) if base[0] == "joined" else base[1]
    for step in steps:
        slots = math.ceil(slots / step) if isinstance(step, int) else len(range(slots)[slice(*step)])
    return slots


def same_length(one: Axis, other: Axis, *, factor: int = 1) -> bool:
    """Whether two lengths, the second divided by ``factor``, are equal whatever the inputs' lengths are."""
    for draw in range(30):
        sizes = lambda name, draw=draw: Random(f"{name} {draw}").randint(1, 60)  # noqa: E731
        if length(one, sizes) != math.ceil(length(other, sizes) / factor):
            return False
    return True


def is_cut(axis: Axis) -> bool:
    """Whether ranges were cut out anywhere in it, so that one length can be written in several ways."""
    parts = axis[0][1] if isinstance(axis[0], tuple) and axis[0][0] == "joined" else ()
    return any(isinstance(step, tuple) for step in axis[1:]) or any(is_cut(part) for part in parts)


@dataclass(frozen=True)
class Each:
    """A layer of one stack for each layer of another."""

    edges: tuple[Edge | None, ...]


Wired = Edge | Each | list["Edge | None"] | None
Outputs = dict[str, Any]


@dataclass(frozen=True)
class Param:
    role: str
    shape: tuple[int, ...]
    layered: bool


@dataclass(frozen=True)
class Attention:
    """Self-attention that reads a score bias; ``biased`` is of its query and key projections."""

    heads: int
    groups: int
    head_dim: int
    v_dim: int
    width: int
    key_width: int
    causal: bool
    sinks: bool
    biased: tuple[bool, bool]


@dataclass
class SharedBias:
    """A stack's bias and who reads it."""

    bias: dict[str, Any]
    readers: set[Attention] = field(default_factory=set)


@dataclass(frozen=True)
class Table:
    """A token table: its rows and their width, and the width and kind of the projection that comes with it."""

    rows: int
    width: int
    model_width: int
    at: str | None = None
    biased: bool = False


@dataclass
class Findings:
    """What is wrong with a document, and what it consists of.

    Attributes:
        schema: codes of fields in merged layers.
        graph: all other codes that may be reported.
        doubtful: codes about which the reference can be read either way.
        params: parameters by path.
        stateful: graph inputs along which something is cached.
        tables: token tables by the name of their owner.
    """

    schema: set[str] = field(default_factory=set)
    graph: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    params: dict[str, Param] = field(default_factory=dict)
    stateful: set[str] = field(default_factory=set)
    tables: dict[str, Table] = field(default_factory=dict)

    def below(self, path: str) -> dict[str, Param]:
        """Parameters of a block, by their path below it."""
        start = f"{path}." if path else ""
        return {name[len(start) :]: param for name, param in self.params.items() if name.startswith(start)}


@dataclass(frozen=True)
class Place:
    """Where a block stands.

    Attributes:
        path: of its parameters.
        layered: whether in a layer that is repeated.
        shared: the score bias that the stack around it lends.
    """

    path: str = ""
    layered: bool = False
    shared: SharedBias | None = None

    def at(self, name: str) -> Place:
        return replace(self, path=f"{self.path}.{name}" if self.path else name)
