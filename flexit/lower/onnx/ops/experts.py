"""``experts``: one expert after the other, each on the tokens that chose it (NonZero, Gather, ScatterND)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from flexit.ir.dims import fixed
from flexit.ir.ops.experts import Experts
from flexit.ir.program import Node
from flexit.lower.onnx.body import emit_body
from flexit.lower.onnx.emitter import Emitter


@dataclass(frozen=True, slots=True)
class _Routed:
    """Tokens in rows, the experts that each chose, and the weights of these."""

    rows: ir.Value
    index: ir.Value
    weight: ir.Value


def lower(node: Node, e: Emitter) -> Any:
    """The mixture; exact for any number of tokens, idle experts included."""
    op, (x, choice, *_) = node.op, node.inputs
    assert isinstance(op, Experts) and x is not None and choice is not None
    values, index, weight = e.inputs(node)
    k, d_in, d_out = fixed(choice.dims[-1]), fixed(x.dims[-1]), fixed(node.output.dims[-1])
    rows = e("Reshape", values, [-1, d_in])
    routed = _Routed(rows, e("Reshape", index, [-1, k]), e("Reshape", weight, [-1, k]))
    total = e("Expand", 0.0, e.shape([e.dim(rows, 0), d_out]))
    for expert in range(op.n_experts):
        total = _with_expert(node, e, total, expert=expert, routed=routed)
    leading = e("Shape", values, start=0, end=x.type.rank - 1)
    return e("Reshape", total, e.shape([leading, d_out]), allowzero=1)


def _with_expert(node: Node, e: Emitter, total: ir.Value, *, expert: int, routed: _Routed) -> ir.Value:
    """The total with the results of one expert added."""
    op = node.op
    assert isinstance(op, Experts)
    chosen = e("NonZero", e("Equal", routed.index, np.int64(expert)))
    token = e("Squeeze", e("Slice", chosen, [0], [1], [0]), [0])
    factor = e("Unsqueeze", e("GatherND", routed.weight, e("Transpose", chosen, perm=[1, 0])), [1])
    x = e("Gather", routed.rows, token, axis=0)
    x = e("Mul", x, factor) if op.weight_on == "input" else x
    slices = {slot: e("Gather", e.weight(node, slot), np.int64(expert), axis=0) for slot in node.params}
    y = emit_body(e, op.body, x, weights=slices)
    y = y if op.weight_on == "input" else e("Mul", y, factor)
    return e("ScatterND", total, e("Unsqueeze", token, [1]), y, reduction="add")
