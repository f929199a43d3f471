"""What runs along an edge between blocks, while blocks expand. The program itself has plain values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.dims import Size
from flexit.ir.program import Value
from flexit.ir.valid import Valid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axis:
    """The length axis of a sequence and what its slots carry. Two sequences are on one length if they share it.

    Attributes:
        key_mask: ``i64[batch, total]``, 1 where a slot is no padding; cached slots included.
        new_mask: ``i64[batch, seq]``, the same for the slots of this step.
        key_rank, new_rank: unpadded slots before each one.
        position_ids: ``i64[batch, seq]``, what rotations and tables read.
        passed_ids: the graph input that callers may pass them in, if there is one.
        seq, total: the length of this step, and with the cached slots.
        decoded: whether tokens of this axis arrive step by step.
        described: how messages call the length.
        valid: which slots are no padding.
        prefix_lengths: ``i64[batch]``, the graph input that says how many tokens are each row's prefix, if there is
            one.
        documents: ``i64[batch, seq]``, which document of a packed row each slot is of, if anything may say so; in
            training alone.
        part: the axis that this one is a range of, which keeps its slots, with Python's ``start`` and ``stop``.
    """

    key_mask: Value
    new_mask: Value
    key_rank: Value
    new_rank: Value
    position_ids: Value
    passed_ids: Value | None
    seq: Size
    total: Size
    decoded: bool
    described: str
    valid: Valid
    prefix_lengths: Value | None = None
    documents: Value | None = None
    part: tuple[Axis, int, int | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edge:
    """Root of the edge types."""

    type_name: ClassVar[str] = "edge"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens(Edge):
    """``i64[batch, seq]`` ids on an axis."""

    type_name: ClassVar[str] = "tokens"
    ids: Value
    axis: Axis


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequence(Edge):
    """``[batch, seq, width]`` values on an axis."""

    type_name: ClassVar[str] = "sequence"
    x: Value
    axis: Axis

    @property
    def width(self) -> int:
        """Channels per position."""
        width = self.x.dims[-1]
        assert isinstance(width, int)
        return width

    def of(self, x: Value) -> Sequence:
        """Other values on the same axis."""
        return Sequence(x=x, axis=self.axis)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vector(Edge):
    """``[batch, width]`` values.

    Attributes:
        rows: a value of the outermost region that has as many rows, for lengths that begin with a vector.
    """

    type_name: ClassVar[str] = "vector"
    x: Value
    rows: Value

    @property
    def width(self) -> int:
        """Channels."""
        width = self.x.dims[-1]
        assert isinstance(width, int)
        return width

    def of(self, x: Value) -> Vector:
        """Other values of the same batch."""
        return Vector(x=x, rows=self.rows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Logits(Edge):
    """``[batch, seq, classes]`` or ``[batch, classes]`` scores."""

    type_name: ClassVar[str] = "logits"
    x: Value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Each:
    """One sequence per layer of a stack, for the layers of another."""

    edges: tuple[Sequence, ...]


MAIN_OUTPUT = {"sequence": "last_hidden_state", "vector": "pooled", "logits": "logits", "tokens": "tokens"}
"""Name of the main output port by edge type."""
