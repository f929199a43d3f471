"""``attention`` in primitives; query groups are folded into the query axis, so keys are never repeated."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from flexit.ir.dims import fixed
from flexit.ir.ops.attention import Attention
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter

LOWEST = np.finfo(np.float32).min


def lower(node: Node, e: Emitter) -> Any:
    """Attention over heads. A mask selects, it is never added: a row without keys stays finite."""
    op = node.op
    assert isinstance(op, Attention)
    q_type, k_type, v_type = (value.type for value in node.inputs[:3] if value is not None)
    heads, groups = fixed(q_type.dims[1]), fixed(k_type.dims[1])
    head_dim, v_dim = fixed(q_type.dims[3]), fixed(v_type.dims[3])
    q, k, v, mask, bias, sinks, table, inner = e.inputs(node)
    q = q if op.scale == 1.0 else e("Mul", q, op.scale)
    folded = q if heads == groups else e("Reshape", q, [0, groups, -1, head_dim])
    scores = e("MatMul", folded, e("Transpose", k, perm=[0, 1, 3, 2]))
    if heads != groups:
        scores = e("Reshape", scores, e.shape([e.dim(q, 0), heads, e.dim(q, 2), e.dim(k, 2)]))
    scores = scores if inner is None else e("Add", scores, inner)
    if op.softcap is not None:
        scores = e("Mul", e("Tanh", e("Div", scores, op.softcap)), op.softcap)
    scores = scores if bias is None else e("Add", scores, bias)
    scores = scores if mask is None else e("Where", mask, scores, LOWEST)
    weights = e("Softmax", scores, axis=-1) if sinks is None else _with_sinks(e, scores, sinks, q=q)
    if op.keyless and mask is not None and sinks is None:
        weights = e("Where", mask, weights, 0.0)
    unfolded = weights
    if heads != groups:
        rows = e("Mul", e.dim(q, 2), [heads // groups])  # written out: nothing can be inferred where there is no key
        weights = e("Reshape", weights, e.shape([e.dim(q, 0), groups, rows, e.dim(k, 2)]))
    y = e("MatMul", weights, v)
    if heads != groups:
        y = e("Reshape", y, e.shape([e.dim(q, 0), heads, e.dim(q, 2), v_dim]))
    if table is not None:
        rows = e("MatMul", e("Unsqueeze", unfolded, [3]), table)
        y = e("Add", y, e("Squeeze", rows, [3]))
    return y


def _with_sinks(e: Emitter, scores: ir.Value, sinks: ir.Value, *, q: ir.Value) -> ir.Value:
    """Softmax with one more logit per head, whose weight is dropped."""
    column = e("Reshape", sinks, [1, -1, 1, 1])
    column = e("Expand", column, e.shape([e.dim(q, 0), 1, e.dim(q, 2), 1]))
    weights = e("Softmax", e("Concat", scores, column, axis=-1), axis=-1)
    return e("Slice", weights, [0], [-1], [3])
