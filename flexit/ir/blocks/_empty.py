"""For what cannot work on no position, as after a slice of a short row: one padded position before the others."""

from __future__ import annotations

from flexit.ir.dims import fixed, may_be_zero
from flexit.ir.expansion.edges import Axis
from flexit.ir.expansion.expander import Expander
from flexit.ir.program import Value


def with_one(e: Expander, x: Value, axis: Axis) -> tuple[Value, Value]:
    """``x [batch, seq, width]`` on an axis, and its mask; after a padded position where there may be none."""
    if not may_be_zero(axis.seq):
        return x, axis.new_mask
    blank = e.repeat(e.full((1, 1, fixed(x.dims[-1])), 0.0), 0, x)
    pad = e.repeat(e.constant([0], (1, 1), dtype="i64"), 0, axis.new_mask)
    return e.concat([e.like(blank, x), x], 1), e.concat([pad, axis.new_mask], 1)


def documents_with_one(e: Expander, axis: Axis) -> Value | None:
    """The documents of an axis, if rows may be packed, after that of a padded position where there may be none."""
    known = e.known_documents(axis) if may_be_zero(axis.seq) else None
    if known is None:
        return axis.documents
    return e.concat([e.repeat(e.constant([0], (1, 1), dtype="i64"), 0, known), known], 1)


def without_one(e: Expander, y: Value, axis: Axis) -> Value:
    """What became of the positions of the axis."""
    return e.slice(y, 1, start=1, stop=y.dims[1]) if may_be_zero(axis.seq) else y
