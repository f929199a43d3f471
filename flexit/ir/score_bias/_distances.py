"""What tables over distances share: the row of each distance d = k - q in ranks, and products with the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexit.ir.expansion.edges import Axis
from flexit.ir.program import Value
from flexit.ir.score_bias.base import Heads

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


def distances(e: Expander, axis: Axis, heads: Heads) -> Value:
    """``i64[batch, seq, keys]``."""
    keys, queries = heads.key_rank(axis), axis.new_rank
    return e.binary("sub", e.reshape(keys, "=0", 1, "=1"), e.reshape(queries, "=0", "=1", 1))


def has_two_sides(written: bool | None, heads: Heads) -> bool:
    """Whether keys after the query have rows of their own; inferred: unless the mask is causal."""
    return not heads.causal if written is None else written


def sides(written: bool | None, heads: Heads) -> str:
    """The same in words, for readers that must agree in it."""
    return "two-sided" if has_two_sides(written, heads) else "one-sided"


def clipped(e: Expander, d: Value, max_distance: int, *, two_sided: bool) -> Value:
    """The row of each distance in a table of ``max_distance + 1`` rows, two-sided ``2 * max_distance + 1``."""
    near = e.binary("max", d, float(-max_distance))
    return e.add(e.binary("min", near, float(max_distance if two_sided else 0)), float(max_distance))


def table(e: Expander, name: str, shape: tuple[int, int], *, heads: int | None) -> Value:
    """A trained vector per distance, ``[1, rows, dim]``; a table per head where there are ``heads`` of them."""
    if heads is not None:
        return e.parameter(name, (heads, *shape), "score_bias")
    return e.reshape(e.parameter(name, shape, "score_bias"), 1, *shape)


def products(e: Expander, x: Value, vectors: Value, *, rows: Value) -> Value:
    """Dot products of x with vectors[row] for each pair of positions: ``[batch, heads, n, m]``.

    Args:
        e: writes it.
        x: ``[batch, heads, n, dim]``.
        vectors: ``[1 | heads, rows, dim]``.
        rows: ``i64[batch, n, m]``.
    """
    of_all = e.matmul(x, e.permute(e.reshape(vectors, 1, "=0", "=1", "=2"), 0, 1, 3, 2))
    return e.take_along(of_all, e.reshape(rows, "=0", 1, "=1", "=2"), 3)
