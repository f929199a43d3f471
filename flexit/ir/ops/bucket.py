"""``bucket``: signed distances between positions sorted into the rows of a bias table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket(Op):
    """``q i64[B, S], k i64[B, T] -> i64[B, S, T]``, the bucket of d = k - q.

    ``t5`` (Raffel et al. 2020): with n = ``n_buckets``, halved if ``two_sided``, and e = n // 2, distances a < e have
    a bucket each, larger ones share e + floor(ln(a/e) / ln(max_distance/e) * (n - e)), at most n - 1; keys after
    the query add n if ``two_sided``, and count as distance 0 otherwise.
    """

    name: ClassVar[str] = "bucket"
    kind: Literal["t5"] = "t5"
    n_buckets: int
    max_distance: int
    two_sided: bool

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        q, k = inputs
        assert q is not None and k is not None
        require(q.rank == 2 and k.rank == 2, f"bucket of {q} and {k}")
        return (Type("i64", (q.dims[0], q.dims[1], k.dims[1])),)
