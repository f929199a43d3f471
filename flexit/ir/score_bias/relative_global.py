"""``relative_global``: a vector per distance, none of them clipped (Huang et al. 2019, Music Transformer)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexit.ir.expansion.edges import Axis
from flexit.ir.language.kinds import InferredBool, PositiveInt
from flexit.ir.ops.bucket import Bucket
from flexit.ir.program import Value
from flexit.ir.score_bias._distances import has_two_sides, products, sides, table
from flexit.ir.score_bias.base import Bias, Heads, Reader, Terms

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class RelativeGlobal(Bias, kind="relative_global"):
    """q . e_d, one vector of ``head_dim`` per d up to ``max_len``; longer input is refused."""

    formula = "s[i, j] = q_i . k_j + q_i . e[j - i],  one row for every distance below max_len"
    source = "Huang et al. 2019 (Music Transformer), arXiv 1809.04281"
    examples = (
        {"kind": "relative_global", "max_len": 40},
        {"kind": "relative_global", "max_len": 12, "per_head": False, "two_sided": True},
    )

    max_len: PositiveInt
    """Longest sequence: as many vectors one-sided, 2 * max_len - 1 two-sided."""
    per_head: bool = True
    """A table per head."""
    two_sided: InferredBool = None
    """Whether keys after the query have vectors of their own; inferred: unless the mask is causal."""

    @property
    def max_positions(self) -> int | None:
        return self.max_len

    def needs(self, heads: Heads) -> tuple[str, ...]:
        return (*super().needs(heads), sides(self.two_sided, heads), f"head_dim {heads.head_dim}")

    def prepare(self, e: Expander, axis: Axis, heads: Heads) -> tuple[Value, ...]:
        op = Bucket(kind="exact", max_distance=self.max_len - 1, two_sided=has_two_sides(self.two_sided, heads))
        rows = e.write(op, axis.new_rank, heads.key_rank(axis), name="bucket")
        each = heads.n_heads if self.per_head else None
        return (rows, table(e, "keys", (op.rows, heads.head_dim), heads=each))

    def added(self, e: Expander, prepared: tuple[Value, ...], reader: Reader) -> Terms:
        rows, keys = prepared
        return Terms(inner=products(e, reader.q, keys, rows=rows))
