"""``bucket``: signed distances between positions sorted into the rows of a table."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require

FARTHEST = 2**31
"""No two tokens are this far apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket(Op):
    """``q i64[B, S], k i64[B, T] -> i64[B, S, T]``, the bucket of d = k - q.

    ``t5`` (Raffel et al. 2020): with n = ``n_buckets``, halved if ``two_sided``, and e = n // 2, distances a < e have
    a bucket each, larger ones share e + floor(ln(a/e) / ln(max_distance/e) * (n - e)), at most n - 1; keys after
    the query add n if ``two_sided``, and count as distance 0 otherwise.

    ``log`` (He et al. 2021): with r = q - k and m = ``n_buckets`` // 2, distances up to m have a bucket each on both
    sides, larger ones share sign(r) * (m + ceil(ln(|r|/m) / ln((max_distance - 1)/m) * (m - 1))); that plus
    ``n_buckets``, limited to the 2 * ``n_buckets`` rows.

    ``exact`` (Huang et al. 2019): d + ``max_distance``, where one-sided a key after the query counts as d = 0; what is
    farther has a row that no table of its size has, so that it is refused.
    """

    name: ClassVar[str] = "bucket"
    kind: Literal["t5", "log", "exact"] = "t5"
    n_buckets: int = 0
    max_distance: int
    two_sided: bool = True

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        q, k = inputs
        assert q is not None and k is not None
        require(q.rank == 2 and k.rank == 2, f"bucket of {q} and {k}")
        return (Type("i64", (q.dims[0], q.dims[1], k.dims[1])),)

    @property
    def rows(self) -> int:
        """Of the table that is read."""
        if self.kind == "t5":
            return self.n_buckets
        return 2 * self.n_buckets if self.kind == "log" else self.max_distance * (1 + self.two_sided) + 1

    def thresholds(self) -> tuple[int, ...]:
        """For ``log``: the smallest distance of each bucket beyond the exact ones, as fp32 logarithms have it.

        In both backends a distance is compared with these, so that none can round to another bucket.
        """
        exact = self.n_buckets // 2
        found: list[int] = []
        while len(found) <= self.n_buckets - exact:
            low, high = exact, FARTHEST
            if self._beyond(high) <= len(found):
                break
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if self._beyond(middle) > len(found) else (middle, high)
            found.append(high)
        return tuple(found)

    def _beyond(self, distance: int) -> int:
        """Buckets between the last exact one and that of a larger distance."""
        exact = self.n_buckets // 2
        share = _fp32(_log(distance / exact) / _log((self.max_distance - 1) / exact))
        return math.ceil(_fp32(share * (exact - 1)))


def _log(ratio: float) -> float:
    return _fp32(math.log(_fp32(ratio)))


def _fp32(number: float) -> float:
    return array("f", [number])[0]
