"""What the axes of a parameter are of: heads, hidden units, the stream between the layers, rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flexit.ir.block import Block, FeedForward, Mixer, Norm
from flexit.ir.program import Param
from flexit.ir.spec import Spec

Axis = Literal["queries", "keys", "values", "mixed", "hidden", "stream", "rows", "experts"]
"""``keys`` and ``values`` have the heads of keys and values, ``queries`` and ``mixed`` those of queries."""

ATTENTION: dict[str, tuple[Axis, Axis]] = {
    "q_proj": ("queries", "stream"), "k_proj": ("keys", "stream"), "v_proj": ("values", "stream"),
    "o_proj": ("stream", "mixed"),
}  # fmt: skip
FEED_FORWARD: dict[str, tuple[Axis, Axis]] = {
    "gate_proj": ("hidden", "stream"),
    "up_proj": ("hidden", "stream"),
    "down_proj": ("stream", "hidden"),
}
HEAD = "out"
"""What a head calls the map to its scores, where it has others too."""
TABLES = frozenset({"embedding", "position", "token_type", "learned_tokens"})
MATRICES = frozenset({"projection", "query_projection", "residual_projection", "gate", "router"})


@dataclass(frozen=True, slots=True)
class Described:
    """A parameter with what is known of it.

    Attributes:
        param: in its program, with its own path.
        block: the innermost block that it is of.
        axes: what each axis is of; empty where that is not known.
    """

    param: Param
    block: Block | None
    axes: tuple[Axis, ...]

    @property
    def is_matrix(self) -> bool:
        """Whether its last axis is what a matrix product reads."""
        return len(self.param.shape) > 1 and self.param.role not in TABLES

    def alike(self, other: Described) -> bool:
        """Whether it is the same part of the same kind of block; norms are told apart by nothing but their names."""
        if self.block is None or other.block is None:
            return self.block is other.block
        norms = isinstance(self.block, Norm) and isinstance(other.block, Norm)
        return norms or self.block.kind == other.block.kind


def described(spec: Spec, param: Param) -> Described:
    """A parameter with its block and its axes."""
    blocks, rest = spec.locate(param.path)
    block = blocks[-1] if blocks else None
    outer = blocks[-2] if len(blocks) > 1 else None
    axes = _axes(param, block, outer, name=rest[0] if len(rest) > 1 else "")
    if len(axes) + 1 == len(param.shape) and axes:
        axes = ("experts", *axes)
    return Described(param, block, axes if len(axes) == len(param.shape) else ())


def _axes(param: Param, block: Block | None, outer: Block | None, *, name: str) -> tuple[Axis, ...]:
    known = ATTENTION if _has_heads(block) else FEED_FORWARD if hasattr(block, "d_ff") else {}
    if name in known:
        return known[name] if param.role != "bias" else known[name][:1]
    if isinstance(block, Mixer | FeedForward) or isinstance(outer, Mixer | FeedForward):
        return ()
    if param.role in TABLES or param.role == "head":
        return ("rows", "stream")
    if param.role == "bias" and (name == HEAD or (not name and not isinstance(block, Norm))):
        return ("rows",)  # of what the block gives
    if param.role in ("gain", "bias"):
        return ("stream",)
    return ("stream", "stream") if param.role in MATRICES else ()


def _has_heads(block: Block | None) -> bool:
    """Whether it has heads of queries that share heads of keys and values."""
    return hasattr(block, "n_heads") and hasattr(block, "n_kv_heads")
