"""``t5``: a learned scalar per head and log-spaced bucket of the distance (Raffel et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.expansion.edges import Axis
from flexit.ir.language.kinds import InferredBool
from flexit.ir.ops.bucket import Bucket
from flexit.ir.program import Value
from flexit.ir.score_bias._distances import has_two_sides, sides
from flexit.ir.score_bias.base import Bias, Heads

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class T5(Bias, kind="t5"):
    """Table ``[n_buckets, heads]`` over log-spaced buckets of the distance."""

    formula = (
        "b[h, i, j] = w[bucket(j - i), h]; half of the buckets hold one distance each, the others are log-spaced up "
        "to max_distance"
    )
    source = "Raffel et al. 2020, arXiv 1910.10683; buckets as in Hugging Face's T5Attention"
    examples = ({"kind": "t5", "n_buckets": 8, "max_distance": 16},)

    n_buckets: Annotated[int, Field(ge=2)] = 32
    """Rows; two-sided: even and at least 4."""
    max_distance: Annotated[int, Field(ge=2)] = 128
    """Distances from here on share the last bucket."""
    two_sided: InferredBool = None
    """Whether keys after the query have buckets of their own; inferred: unless the mask is causal."""

    def check_for(self, heads: Heads) -> Iterator[Fault]:
        sided = has_two_sides(self.two_sided, heads)
        if sided and (self.n_buckets % 2 or self.n_buckets < 4):
            yield Fault(
                code="FX0507", field="n_buckets", message="cannot be halved for two sides",
                expected="an even number of at least 4", found=str(self.n_buckets),
                cure=f"set n_buckets to {max(4, self.n_buckets + self.n_buckets % 2)}",
            )  # fmt: skip
            return
        exact = (self.n_buckets // 2 if sided else self.n_buckets) // 2
        if self.max_distance <= exact:
            yield Fault(
                code="FX0507", field="max_distance", message="lies within the exact buckets",
                expected=f"more than {exact}, the distances that have a bucket each", found=str(self.max_distance),
                cure=f"set max_distance to {exact + 1} or more, or lower n_buckets",
            )  # fmt: skip

    def needs(self, heads: Heads) -> tuple[str, ...]:
        return (*super().needs(heads), sides(self.two_sided, heads))

    def prepare(self, e: Expander, axis: Axis, heads: Heads) -> tuple[Value, ...]:
        two_sided = has_two_sides(self.two_sided, heads)
        op = Bucket(n_buckets=self.n_buckets, max_distance=self.max_distance, two_sided=two_sided)
        rows = e.write(op, axis.new_rank, heads.key_rank(axis), name="bucket")
        bias = e.embedding(rows, "", rows=self.n_buckets, width=heads.n_heads, role="score_bias")
        return (e.permute(bias, 0, 3, 1, 2),)
