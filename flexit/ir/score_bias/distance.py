"""``distance``: a learned scalar per distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexit.ir.expansion.edges import Axis
from flexit.ir.language.kinds import InferredBool, PositiveInt
from flexit.ir.program import Value
from flexit.ir.score_bias._distances import clipped, distances, has_two_sides, sides
from flexit.ir.score_bias.base import Bias, Heads

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Distance(Bias, kind="distance"):
    """Learned scalar per d, clipped to ``max_distance``."""

    formula = "b[h, i, j] = w[h, clip(j - i, -max_distance, max_distance)]"
    source = "FlexiTransformers' relative_bias; the scalar form of Shaw et al. 2018, arXiv 1803.02155"
    examples = ({"kind": "distance", "max_distance": 3}, {"kind": "distance", "max_distance": 4, "per_head": False})

    max_distance: PositiveInt
    """What is farther counts as this far: 2 * max_distance + 1 entries two-sided, else max_distance + 1."""
    per_head: bool = True
    """false: one scalar for all heads (FlexiTransformers relative_bias)."""
    two_sided: InferredBool = None
    """Whether keys after the query have entries of their own; inferred: unless the mask is causal."""

    def needs(self, heads: Heads) -> tuple[str, ...]:
        return (*super().needs(heads), sides(self.two_sided, heads))

    def prepare(self, e: Expander, axis: Axis, heads: Heads) -> tuple[Value, ...]:
        two_sided = has_two_sides(self.two_sided, heads)
        rows = clipped(e, distances(e, axis, heads), self.max_distance, two_sided=two_sided)
        count, width = self.max_distance * (1 + two_sided) + 1, heads.n_heads if self.per_head else 1
        return (e.permute(e.embedding(rows, "", rows=count, width=width, role="score_bias"), 0, 3, 1, 2),)
