"""The program: primitive ops on typed values, in regions, with named parameters and states. Plain frozen data.

Paths in a region are relative to it; a call adds its own. ``walk()`` and the passes give absolute ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from flexit.ir.types import DType, Shape, Type

if TYPE_CHECKING:
    from flexit.ir.dims import Size
    from flexit.ir.ops.op import Op
    from flexit.ir.valid import Valid

Role = Literal[
    "embedding", "position", "token_type", "learned_tokens", "projection", "query_projection", "residual_projection",
    "gate", "conv", "router", "score_bias", "head", "gain", "bias", "sink", "layer_scale", "mix", "slope",
    "selection_bias",
]  # fmt: skip
UNTRAINED: frozenset[Role] = frozenset({"selection_bias"})
"""Roles that no loss trains: something else sets them, or nothing does."""
StateRule = Literal["append", "replace", "static"]
InputRole = Literal["ids", "values", "vector", "mask", "position_ids", "prefix_lengths", "document_ids"]


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One result of a node, or an input of a region. Compared by identity; ``name`` is for people."""

    name: str
    type: Type

    def __str__(self) -> str:
        return f"%{self.name}"

    @property
    def dims(self) -> Shape:
        """Shape of the value."""
        return self.type.dims

    @property
    def dtype(self) -> DType:
        """Dtype of the value."""
        return self.type.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """An array that a model learns.

    Attributes:
        path: dotted path, relative to the region that holds it.
        shape: ints only.
        role: what it is for; initialisation, weight decay and quantisation go by it.
        width: width of the block's input (of an embedding: its output), which ``rsqrt_d_model`` means.
        first_value: value of parameters that are never drawn (layer scale, mixing weights, slopes), else None.
        offset: what an op adds before use (``gain_offset``); it is subtracted from what ``init`` says, which therefore
            means the applied gain.
        head_dim: head width of a query projection, which ``rsqrt_fan_in_head_dim`` means.
        frozen: whether it stays as it is, whatever is learned.
    """

    path: str
    shape: tuple[int, ...]
    role: Role
    width: int = 0
    first_value: tuple[float, ...] | None = None
    offset: float = 0.0
    head_dim: int = 0
    frozen: bool = False

    @property
    def trained(self) -> bool:
        """Whether a loss trains it."""
        return not self.frozen and self.role not in UNTRAINED

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for dim in self.shape:
            count *= dim
        return count


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a decoder keeps between steps. Axis 0 is always the batch.

    Attributes:
        path: dotted path, relative to the region.
        type: dtype and dims *before* a step (``append``: the past length on ``axis``).
        rule: ``append`` grows by the new values on ``axis``; ``replace`` is a new array of the same shape;
            ``static`` is computed once and then only read.
        axis: the growing axis of ``append``, else None.
    """

    path: str
    type: Type
    rule: StateRule
    axis: int | None = None

    def below(self, prefix: str) -> State:
        """The same state seen from outside a region that is called at ``prefix``."""
        return State(path=join(prefix, self.path), type=self.type, rule=self.rule, axis=self.axis)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One op applied. ``params`` maps the op's slots to parameters, or to values where another region holds them."""

    op: Op
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    path: str = ""
    params: Mapping[str, Param | Value] = field(default_factory=dict[str, "Param | Value"])
    states: tuple[State, ...] = ()

    @property
    def output(self) -> Value:
        """The first result."""
        return self.outputs[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """One instance of a region.

    Attributes:
        path: prefix of its states and side outputs.
        weights: prefix of its parameters; differs from ``path`` where layers or blocks share.
        outputs: the region's outputs, then its side outputs in their order.
    """

    region: Region
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    path: str
    weights: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """A function of values, written once and called at one or many paths.

    Attributes:
        side: auxiliary results by relative path (``router_logits``).
        marks: result of each block expanded in here, by relative path; proof localises by them.
        branches: residual branches opened in here, calls not counted.
    """

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node | Call, ...]
    outputs: tuple[Value, ...]
    side: Mapping[str, Value] = field(default_factory=dict[str, Value])
    marks: Mapping[str, Value] = field(default_factory=dict[str, Value])
    branches: int = 0

    @cached_property
    def states(self) -> tuple[State, ...]:
        """All states in order, those of calls prefixed with their path."""
        found: list[State] = []
        for node in self.nodes:
            if isinstance(node, Call):
                found += [state.below(node.path) for state in node.region.states]
            else:
                found += node.states
        return tuple(found)

    @cached_property
    def params(self) -> tuple[Param, ...]:
        """Parameters that nodes of this region hold, each path once; calls not followed."""
        found: dict[str, Param] = {}
        for node in self.nodes:
            if isinstance(node, Node):
                for param in node.params.values():
                    if isinstance(param, Param):
                        found.setdefault(param.path, param)
        return tuple(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A graph input.

    Attributes:
        group: prefix of its companions (``""``, ``decoder``), which names its length symbols too.
        role: what it is; ``ids`` and ``values`` carry the batch, the rest are companions or extras.
        optional: whether a caller may leave it out.
    """

    name: str
    value: Value
    group: str
    role: InputRole
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One family of inputs on one length: the ids or values, their mask, their position ids.

    Attributes:
        seq: symbol of the new tokens. total: symbol of all keys; equal to ``seq`` unless the group is decoded.
    """

    name: str
    seq: str
    total: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """What a model computes.

    Attributes:
        name: the spec's name.
        root: the outermost region; its ``outputs`` are the values of ``outputs`` in order.
        outputs: graph output name -> value of the root region.
        decoded: group whose tokens are fed step by step, or None where no cached signature exists.
        why_not_decoded: the block that prevents decoding and why, where ``decoded`` is None.
        why_not_packed: the block that would mix the documents of packed rows and how, if there is one.
        valid: for each length of a sequence, which positions are no padding: all that is said of it, where several
            sequences have that length.
    """

    name: str
    root: Region
    inputs: tuple[Input, ...]
    outputs: Mapping[str, Value]
    groups: tuple[Group, ...]
    decoded: Group | None
    why_not_decoded: str = ""
    why_not_packed: str = ""
    valid: Mapping[Size, frozenset[Valid]] = field(default_factory=dict["Size", "frozenset[Valid]"])

    @property
    def states(self) -> tuple[State, ...]:
        """All states in program order, with absolute paths."""
        return self.root.states

    def params(self) -> Iterator[Param]:
        """Every parameter once, with its absolute path, in program order."""
        seen: set[str] = set()
        for prefix, region in walk(self.root):
            for param in region.params:
                path = join(prefix, param.path)
                if path not in seen:
                    seen.add(path)
                    yield at_path(param, path)


def at_path(param: Param, path: str) -> Param:
    """The same parameter under another path."""
    return Param(
        path=path, shape=param.shape, role=param.role, width=param.width, first_value=param.first_value,
        offset=param.offset, head_dim=param.head_dim, frozen=param.frozen,
    )  # fmt: skip


def join(*parts: str) -> str:
    """Dotted path of the parts that are not empty."""
    return ".".join(part for part in parts if part)


def walk(region: Region, prefix: str = "") -> Iterator[tuple[str, Region]]:
    """Every region instance with the prefix of its *parameters*, parents first."""
    yield prefix, region
    for node in region.nodes:
        if isinstance(node, Call):
            yield from walk(node.region, join(prefix, node.weights))


def instances(region: Region, prefix: str = "") -> Iterator[tuple[str, Region]]:
    """Every region instance with the prefix of its *states*, parents first."""
    yield prefix, region
    for node in region.nodes:
        if isinstance(node, Call):
            yield from instances(node.region, join(prefix, node.path))
