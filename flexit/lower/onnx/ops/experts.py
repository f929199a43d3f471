"""``experts``: one expert after the other, each on the tokens that chose it (NonZero, Gather, ScatterND)."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from flexit.ir.ops.experts import Experts
from flexit.ir.program import Node
from flexit.lower.onnx.body import emit_body
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """The mixture; exact for any number of tokens, idle experts included."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Experts) and x is not None
    values, index, weight = e.inputs(node)
    k, d_in, d_out = node.inputs[1].dims[-1], x.dims[-1], node.output.dims[-1]  # pyright: ignore[reportOptionalMemberAccess]
    rows = e("Reshape", values, [-1, d_in])
    index, weight = e("Reshape", index, [-1, k]), e("Reshape", weight, [-1, k])
    total = e("Expand", 0.0, e.shape([e.dim(rows, 0), int(str(d_out))]))
    for expert in range(op.n_experts):
        total = _one(node, e, total, (expert, rows, index, weight))
    leading = e("Shape", values, start=0, end=x.type.rank - 1)
    return e("Reshape", total, e.shape([leading, int(str(d_out))]))


def _one(node: Node, e: Emitter, total: ir.Value, what: tuple[int, ir.Value, ir.Value, ir.Value]) -> ir.Value:
    op = node.op
    assert isinstance(op, Experts)
    expert, rows, index, weight = what
    chosen = e("NonZero", e("Equal", index, np.int64(expert)))
    token = e("Squeeze", e("Slice", chosen, [0], [1], [0]), [0])
    factor = e("Unsqueeze", e("GatherND", weight, e("Transpose", chosen, perm=[1, 0])), [1])
    x = e("Gather", rows, token, axis=0)
    x = e("Mul", x, factor) if op.weight_on == "input" else x
    slices = {slot: e("Gather", e.weight(node, slot), np.int64(expert), axis=0) for slot in node.params}
    y = emit_body(e, op.body, x, slices)
    y = y if op.weight_on == "input" else e("Mul", y, factor)
    return e("ScatterND", total, e("Unsqueeze", token, [1]), y, reduction="add")
