"""``disentangled``: scores from content to position and back, over log-spaced distances (He et al. 2021, DeBERTa)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from flexit.ir.block import Fault, Norm
from flexit.ir.dims import fixed
from flexit.ir.expansion.edges import Axis
from flexit.ir.language.kinds import distinct
from flexit.ir.ops.bucket import Bucket
from flexit.ir.program import Value
from flexit.ir.score_bias._distances import products
from flexit.ir.score_bias.base import Bias, Heads, Reader, Terms

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Disentangled(Bias, kind="disentangled"):
    """q . k_row (c2p) and k . q_row (p2c), the rows of one table projected; scores are divided by sqrt(1 + terms)."""

    formula = (
        "s[i, j] = (q_i . k_j + q_i . K r_c(i-j) + k_j . Q r_c(i-j)) / sqrt(d (1 + terms)),  r_c rows of the table, c"
        " log-spaced buckets"
    )
    source = "He et al. 2021, arXiv 2006.03654; buckets of DeBERTa v2 (microsoft/DeBERTa)"
    also_called: ClassVar[Mapping[str, str]] = {"deberta": ""}
    examples = (
        {"kind": "disentangled", "n_buckets": 4, "max_distance": 8},
        {"kind": "disentangled", "n_buckets": 5, "max_distance": 6, "terms": ["p2c"], "share_projections": False},
    )

    terms: Annotated[list[Literal["c2p", "p2c"]], AfterValidator(distinct)] = Field(
        default_factory=lambda: ["c2p", "p2c"]
    )
    """Content to position, position to content."""
    n_buckets: Annotated[int, Field(ge=2)]
    """Log buckets of each side (v3: 256); the table has twice as many rows, of the model's width."""
    max_distance: Annotated[int, Field(ge=2)]
    """Distance that the buckets reach; over n_buckets // 2 + 1 (v3: 512)."""
    share_projections: bool = True
    """Rows go through the layer's q_proj and k_proj; false: through pos_k_proj (c2p) and pos_q_proj (p2c)."""
    norm: Norm | None = None
    """On the table."""

    def check_for(self, heads: Heads) -> Iterator[Fault]:
        exact = self.n_buckets // 2
        if self.max_distance <= exact + 1:
            yield Fault(
                code="FX0507", field="max_distance", message="lies within the exact buckets",
                expected=f"more than {exact + 1}, which is n_buckets // 2 + 1",
                found=str(self.max_distance), cure=f"set max_distance to {exact + 2} or more, or lower n_buckets",
            )  # fmt: skip

        if self.share_projections and "c2p" in self.terms and heads.key_width != heads.width:
            yield Fault(
                code="FX0401", field="share_projections", message="k_proj is of another width than the rows",
                expected=f"keys from {heads.width} channels, the width of x", found=f"memory of {heads.key_width}",
                cure="set share_projections to false, or give memory the width of x",
            )  # fmt: skip

    def needs(self, heads: Heads) -> tuple[str, ...]:
        return (*super().needs(heads), f"width {heads.width}")

    def prepare(self, e: Expander, axis: Axis, heads: Heads) -> tuple[Value, ...]:
        op = Bucket(kind="log", n_buckets=self.n_buckets, max_distance=self.max_distance)
        rows = e.write(op, axis.new_rank, heads.key_rank(axis), name="bucket")
        table = e.parameter("table", (op.rows, heads.width), "score_bias")
        return (rows, table if self.norm is None else self.norm.apply(e, table, "norm"))

    def added(self, e: Expander, prepared: tuple[Value, ...], reader: Reader) -> Terms:
        rows, table = prepared
        terms = {"c2p": self._content_to_position, "p2c": self._position_to_content}
        found = [term(e, rows, table, reader=reader) for name, term in terms.items() if name in self.terms]
        inner = found[0] if len(found) == 1 else e.add(*found)
        return Terms(inner=inner, divisor=sqrt(1 + len(found)))

    def _content_to_position(self, e: Expander, rows: Value, table: Value, *, reader: Reader) -> Value:
        """``[batch, n_heads, seq, keys]``."""
        heads = reader.heads
        keys = e.permute(e.reshape(self._keys(e, table, reader), "=0", heads.n_kv_heads, heads.head_dim), 1, 0, 2)
        return products(e, reader.q, _repeated(e, keys, 0, times=heads.queries_per_key), rows=rows)

    def _position_to_content(self, e: Expander, rows: Value, table: Value, *, reader: Reader) -> Value:
        """``[batch, n_heads, seq, keys]``."""
        heads = reader.heads
        queries = e.permute(e.reshape(self._queries(e, table, reader), "=0", heads.n_heads, heads.head_dim), 1, 0, 2)
        k = _repeated(e, reader.k, 1, times=heads.queries_per_key)
        return e.permute(products(e, k, queries, rows=e.permute(rows, 0, 2, 1)), 0, 1, 3, 2)

    def _keys(self, e: Expander, table: Value, reader: Reader) -> Value:
        if self.share_projections:
            return reader.project_k(table)
        return e.linear(table, reader.heads.n_kv_heads * reader.heads.head_dim, "pos_k_proj", bias=reader.biased[1])

    def _queries(self, e: Expander, table: Value, reader: Reader) -> Value:
        if self.share_projections:
            return reader.project_q(table)
        return e.linear(table, reader.heads.n_heads * reader.heads.head_dim, "pos_q_proj", bias=reader.biased[0])


def _repeated(e: Expander, x: Value, axis: int, *, times: int) -> Value:
    """Each head of key heads on ``axis`` ``times`` times in a row."""
    if times == 1:
        return x
    heads, before = fixed(x.dims[axis]), [f"={index}" for index in range(axis)]
    behind = [f"={index}" for index in range(axis + 1, x.type.rank)]
    copies = e.repeat(e.reshape(x, *before, heads, 1, *behind), axis + 1, times)
    moved = [f"={index + 1}" for index in range(axis + 1, x.type.rank)]
    return e.reshape(copies, *before, heads * times, *moved)
