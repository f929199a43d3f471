"""``mask``: which keys a query may see, from typed pieces, so that backends can read what a mask means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True)
class Piece:
    """One condition; all of them must hold.

    ``causal``: the key's slot is not after the query's. ``window``: k > q - size, in ranks. ``window_both``: q and k
    at most size apart. ``chunk``: q // size = k // size.
    """

    kind: Literal["causal", "window", "window_both", "chunk"]
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask(Op):
    """``key_mask i64[B, T], q_rank?, k_rank?, prefix_lengths i64[B]?, q_document?, k_document? -> bool[B, 1, S, T]``.

    S is 1 without pieces. Padded keys are never visible, nor keys of other documents in packed rows (whose S is never
    1). ``keep_first`` keys (by rank) stay visible outside windows and chunks; where q and k are both among the first
    ``prefix_lengths`` tokens of their row, the pieces do not matter. Lengths and documents may be left out when a
    model runs: no prefix, one document.
    """

    name: ClassVar[str] = "mask"
    pieces: tuple[Piece, ...] = ()
    keep_first: int = 0

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        key_mask, q_rank = inputs[0], inputs[1]
        assert key_mask is not None
        require(q_rank is not None or not self.pieces, "mask with pieces needs the queries' ranks")
        queries = q_rank.dims[1] if q_rank is not None and self.pieces else 1
        return (Type("bool", (key_mask.dims[0], 1, queries, key_mask.dims[1])),)
