"""``mask`` as a bool tensor."""

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
    key_mask, q_rank, k_rank, q_document, k_document = e.inputs(node)
    visible = e("Unsqueeze", e.cast(key_mask, "bool"), [1, 2])
    near: ir.Value | None = None
    for piece in op.pieces:
        if piece.kind == "causal":
            visible = e("And", visible, _causal(e, key_mask, q_rank))
        elif piece.kind == "document":
            same = e("Equal", e("Unsqueeze", q_document, [1, 3]), e("Unsqueeze", k_document, [1, 2]))
            visible = e("And", visible, same)
        else:
            inside = _near(e, piece, q=e("Unsqueeze", q_rank, [1, 3]), k=e("Unsqueeze", k_rank, [1, 2]))
            near = inside if near is None else e("And", near, inside)
    if near is not None and op.keep_first:
        near = e("Or", near, e("Less", e("Unsqueeze", k_rank, [1, 2]), np.int64(op.keep_first)))
    return visible if near is None else e("And", visible, near)


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
