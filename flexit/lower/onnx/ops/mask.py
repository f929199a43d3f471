"""``mask`` as a bool tensor. Documents are for training: a deployed model has no such input."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from flexit.ir.ops.mask import Mask, Piece
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """All pieces joined."""
    op = node.op
    assert isinstance(op, Mask)
    key_mask, q_rank, k_rank, lengths = (e[value] for value in node.inputs[:4])
    assert key_mask is not None
    visible = e("Unsqueeze", e.cast(key_mask, "bool"), [1, 2])
    if not op.pieces:
        return visible
    assert q_rank is not None and k_rank is not None
    q, k = e("Unsqueeze", q_rank, [1, 3]), e("Unsqueeze", k_rank, [1, 2])
    near = [_near(e, piece, q=q, k=k) for piece in op.pieces if piece.kind != "causal"]
    inside = _all(e, near)
    if inside is not None and op.keep_first:
        inside = e("Or", inside, e("Less", k, np.int64(op.keep_first)))
    causal = [_causal(e, key_mask, q_rank) for piece in op.pieces if piece.kind == "causal"]
    met = _all(e, causal if inside is None else [*causal, inside])
    if lengths is not None:
        ends = e("Unsqueeze", lengths, [1, 2, 3])
        met = e("Or", met, e("And", e("Less", q, ends), e("Less", k, ends)))
    return e("And", visible, met)


def _all(e: Emitter, conditions: list[ir.Value]) -> ir.Value | None:
    met: ir.Value | None = None
    for condition in conditions:
        met = condition if met is None else e("And", met, condition)
    return met


def _causal(e: Emitter, key_mask: ir.Value, q_rank: ir.Value) -> ir.Value:
    """Keys whose slot is not after the query's; the queries are the last slots."""
    keys, queries = e.dim(key_mask, 1), e.dim(q_rank, 1)
    stop = e("Squeeze", keys, [0])
    start = e("Squeeze", e("Sub", keys, queries), [0])
    k = e("Unsqueeze", e("Range", np.int64(0), stop, np.int64(1)), [0])
    q = e("Unsqueeze", e("Range", start, stop, np.int64(1)), [1])
    return e("LessOrEqual", k, q)


def _near(e: Emitter, piece: Piece, *, q: ir.Value, k: ir.Value) -> ir.Value:
    size = np.int64(piece.size)
    if piece.kind == "window":
        return e("Less", e("Sub", q, k), size)
    if piece.kind == "window_both":
        return e("LessOrEqual", e("Abs", e("Sub", q, k)), size)
    return e("Equal", e("Div", q, size), e("Div", k, size))
