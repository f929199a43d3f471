"""The projections of an attention: which have a bias, and heads as a dim of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexit.ir.dims import fixed
from flexit.ir.language.kinds import Group
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class AttentionBias(Group):
    """Which projections have a bias (Qwen2: q, k, v; Whisper: q, v, o)."""

    q: bool = False
    """Queries."""
    k: bool = False
    """Keys."""
    v: bool = False
    """Values."""
    o: bool = False
    """Output."""


def biases(written: bool | AttentionBias) -> AttentionBias:
    """The full form of ``bias: true`` and ``bias: false``."""
    return written if isinstance(written, AttentionBias) else AttentionBias(**dict.fromkeys("qkvo", written))


def channels(h: Value) -> int:
    """Size of the last dim."""
    return fixed(h.dims[-1])


def split(e: Expander, h: Value, heads: int) -> Value:
    """``[batch, seq, heads * dim] -> [batch, heads, seq, dim]``."""
    return e.permute(e.reshape(h, "=0", "=1", heads, channels(h) // heads), 0, 2, 1, 3)


def joined(e: Expander, h: Value) -> Value:
    """``[batch, heads, seq, dim] -> [batch, seq, heads * dim]``."""
    return e.reshape(e.permute(h, 0, 2, 1, 3), "=0", "=1", "*")
