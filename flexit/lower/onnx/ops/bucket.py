"""``bucket``: integer arithmetic on distances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flexit.ir.ops.bucket import Bucket
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Rows of a bias table; see the op."""
    op = node.op
    assert isinstance(op, Bucket)
    q, k = e.inputs(node)
    distance = e("Sub", e("Unsqueeze", k, [1]), e("Unsqueeze", q, [2]))
    n = op.n_buckets // 2 if op.two_sided else op.n_buckets
    far = e("Abs", distance) if op.two_sided else e("Max", e("Neg", distance), np.int64(0))
    exact = n // 2
    ratio = e("Div", e("Max", e.cast(far, "f32"), 1.0), float(exact))
    log = e("Div", e("Log", ratio), math.log(op.max_distance / exact))
    beyond = e("Add", e.cast(e("Mul", log, float(n - exact)), "i64"), np.int64(exact))
    rows = e("Where", e("Less", far, np.int64(exact)), far, e("Min", beyond, np.int64(n - 1)))
    if not op.two_sided:
        return rows
    after = e.cast(e("Greater", distance, np.int64(0)), "i64")
    return e("Add", rows, e("Mul", after, np.int64(n)))
