"""``relative``: a vector per distance, met by the queries, and one added to the values (Shaw et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from flexit.ir.dims import fixed
from flexit.ir.expansion.edges import Axis
from flexit.ir.language.kinds import InferredBool, PositiveInt
from flexit.ir.ops.embedding import Embedding
from flexit.ir.program import Value
from flexit.ir.score_bias._distances import clipped, distances, has_two_sides, products, sides, table
from flexit.ir.score_bias.base import Bias, Heads, Reader, Terms

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Relative(Bias, kind="relative"):
    """q . r_d, one vector of ``head_dim`` per d, clipped to ``max_distance``."""

    formula = (
        "s[i, j] = q_i . (k_j + a[c]),  y_i = sum_j p[i, j] (v_j + b[c]),  c = clip(j - i, -max_distance, max_distance)"
    )
    source = "Shaw, Uszkoreit and Vaswani 2018, arXiv 1803.02155"
    also_called: ClassVar[Mapping[str, str]] = {"shaw": ""}
    examples = (
        {"kind": "relative", "max_distance": 3, "values": True},
        {"kind": "relative", "max_distance": 2, "per_head": True, "values": True},
        {"kind": "relative", "max_distance": 4, "scaled": False, "two_sided": False},
    )

    max_distance: PositiveInt
    """What is farther counts as this far: 2 * max_distance + 1 vectors two-sided, else max_distance + 1."""
    per_head: bool = False
    """A table per head."""
    scaled: bool = True
    """false: added after scale and softcap (FlexiTransformers relative)."""
    values: bool = False
    """Also add the weighted vectors of a second table to the values."""
    two_sided: InferredBool = None
    """Whether keys after the query have vectors of their own; inferred: unless the mask is causal."""

    def needs(self, heads: Heads) -> tuple[str, ...]:
        dims = (f"head_dim {heads.head_dim}", *([f"v_head_dim {heads.v_head_dim}"] if self.values else []))
        return (*super().needs(heads), sides(self.two_sided, heads), *dims)

    def prepare(self, e: Expander, axis: Axis, heads: Heads) -> tuple[Value, ...]:
        two_sided = has_two_sides(self.two_sided, heads)
        rows = clipped(e, distances(e, axis, heads), self.max_distance, two_sided=two_sided)
        count, each = self.max_distance * (1 + two_sided) + 1, heads.n_heads if self.per_head else None
        keys = table(e, "keys", (count, heads.head_dim), heads=each)
        if not self.values:
            return (rows, keys)
        values = table(e, "values", (count, heads.v_head_dim), heads=each)
        return (rows, keys, _looked_up(e, values, rows))

    def added(self, e: Expander, prepared: tuple[Value, ...], reader: Reader) -> Terms:
        rows, keys, values = (*prepared, None)[:3]
        assert rows is not None and keys is not None
        term = products(e, reader.q, keys, rows=rows)
        return Terms(inner=term, values=values) if self.scaled else Terms(outer=term, values=values)


def _looked_up(e: Expander, vectors: Value, rows: Value) -> Value:
    """``vectors [1 | heads, rows, dim]`` at each distance: ``[batch, 1 | heads, seq, keys, dim]``."""
    heads, count, dim = (fixed(size) for size in vectors.dims)
    flat = e.reshape(e.permute(vectors, 1, 0, 2), count, heads * dim)
    op = Embedding(rows=count, width=heads * dim, tied=True)
    found = e.write(op, rows, name="values", params={"weight": flat})
    return e.permute(e.reshape(found, "=0", "=1", "=2", heads, dim), 0, 3, 1, 2, 4)
