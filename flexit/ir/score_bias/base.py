"""What a score bias is, what it learns of the attention that reads it, and what it adds there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from flexit.ir.block import Block, Fault
from flexit.ir.expansion.edges import Axis
from flexit.ir.language.kinds import Kind
from flexit.ir.language.masks import Mask
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """What is known of an attention before there are queries and keys.

    Attributes:
        width: channels of its input.
        key_width: channels of what its keys are made of.
        sinks: whether its softmax has one more logit per head.
    """

    n_heads: int
    n_kv_heads: int
    head_dim: int
    v_head_dim: int
    width: int
    key_width: int
    mask: Mask
    sinks: bool

    @property
    def queries_per_key(self) -> int:
        """Query heads that share a key head."""
        return self.n_heads // self.n_kv_heads

    @property
    def causal(self) -> bool:
        """Whether no key comes after its query."""
        return self.mask.is_causal

    @property
    def cached(self) -> bool:
        """Whether keys include those of earlier steps."""
        return self.mask.is_cached

    def key_rank(self, axis: Axis) -> Value:
        """Ranks of the keys, ``i64[batch, keys]``; those of the queries are ``axis.new_rank``."""
        return axis.key_rank if self.cached else axis.new_rank


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reader:
    """An attention that reads a bias.

    Attributes:
        axis: of queries and keys.
        q: ``[batch, n_heads, seq, head_dim]`` as it meets the keys (normed, rotated, tempered), before any scale.
        k: ``[batch, n_kv_heads, keys, head_dim]``, cached ones included. Query head h reads key head
            h // (n_heads / n_kv_heads).
        scale: ``scores.scale`` as a number.
        project_q, project_k: rows ``[..., width]`` through the attention's own projection of queries or keys, weights
            and biases: ``[..., heads * head_dim]``. Neither clipped nor normed nor rotated.
        biased: whether those projections (q, k) have a bias.
    """

    heads: Heads
    axis: Axis
    q: Value
    k: Value
    scale: float
    project_q: Callable[[Value], Value]
    project_k: Callable[[Value], Value]
    biased: tuple[bool, bool]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terms:
    """What a bias adds: scores are ``softcap(scale / divisor * (q.k + inner)) + outer``, results + weights * values.

    Attributes:
        inner, outer: ``[1 | batch, 1 | n_heads, 1 | seq, keys]``.
        values: ``[1 | batch, 1 | n_heads, seq, keys, v_head_dim]``, one more value vector per query and key.
    """

    inner: Value | None = None
    outer: Value | None = None
    values: Value | None = None
    divisor: float = 1.0


class Bias(Kind, family="Bias", package="flexit.ir.score_bias"):
    """A term added to attention scores, by the signed distance d = k - q in ranks."""

    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    """Tiny instances, as written, that the conformance tests run end to end."""

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        """Like :meth:`Block.child`, for a parameter path below ``score_bias``."""
        nested = getattr(self, path[0], None)
        return (nested, path[1:]) if isinstance(nested, Block) else None

    @property
    def max_positions(self) -> int | None:
        """The longest sequence, if there is one."""
        return None

    def check_for(self, heads: Heads) -> Iterator[Fault]:
        """Faults that show once an attention that reads it is known; fields are those of the bias."""
        del heads
        yield from ()

    def needs(self, heads: Heads) -> tuple[str, ...]:
        """What :meth:`prepare` depends on, in words: readers of one shared bias must agree in it."""
        return (f"{heads.n_heads} heads",)

    def prepare(self, e: Expander, axis: Axis, heads: Heads) -> tuple[Value, ...]:
        """What does not depend on queries and keys (tables, buckets), made first; :meth:`added` does the rest.

        A stack that owns a bias prepares it once for all of its layers.

        Args:
            e: writes ops; parameters are below ``score_bias`` of the attention or stack that owns the bias.
            axis: of queries and keys.
            heads: the attention; of it only what :meth:`needs` names may be used.
        """
        raise NotImplementedError

    def added(self, e: Expander, prepared: tuple[Value, ...], reader: Reader) -> Terms:
        """What is added in one attention; as a rule the one prepared value, after scale and softcap.

        Args:
            e: writes ops in the attention itself; parameters are below it.
            prepared: what :meth:`prepare` made.
            reader: the attention with its queries and keys.
        """
        del e, reader
        (outer,) = prepared
        return Terms(outer=outer)
