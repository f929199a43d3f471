"""``bucket``: integer arithmetic on distances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flexit.ir.ops.bucket import FARTHEST, Bucket
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


def lower(node: Node, e: Emitter) -> Any:
    """Rows of a bias table; see the op."""
    op = node.op
    assert isinstance(op, Bucket)
    q, k = e.inputs(node)
    distance = e("Sub", e("Unsqueeze", k, [1]), e("Unsqueeze", q, [2]))
    return {"t5": _t5, "log": _log, "exact": _exact}[op.kind](op, e, distance)


def _t5(op: Bucket, e: Emitter, distance: Any) -> Any:
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


def _log(op: Bucket, e: Emitter, distance: Any) -> Any:
    """How many thresholds a distance has reached: estimated by a logarithm, then corrected by comparing."""
    exact, thresholds = op.n_buckets // 2, op.thresholds()
    far = e("Abs", distance)
    rows = e("Min", far, np.int64(exact))
    if thresholds:
        ends = np.array([0, *thresholds, FARTHEST + 1], np.int64)
        ratio = e("Div", e("Max", e.cast(far, "f32"), float(exact)), float(exact))
        factor = (exact - 1) / math.log((op.max_distance - 1) / exact)
        near = e("Min", e.cast(e("Ceil", e("Mul", e("Log", ratio), factor)), "i64"), np.int64(len(thresholds)))
        low = e.cast(e("Less", far, e("Gather", ends, near)), "i64")
        high = e.cast(e("GreaterOrEqual", far, e("Gather", ends, e("Add", near, np.int64(1)))), "i64")
        rows = e("Add", rows, e("Sub", e("Add", near, high), low))
    rows = e("Add", e("Mul", rows, e("Sign", e("Neg", distance))), np.int64(op.n_buckets))
    return e("Max", e("Min", rows, np.int64(2 * op.n_buckets - 1)), np.int64(0))


def _exact(op: Bucket, e: Emitter, distance: Any) -> Any:
    distance = distance if op.two_sided else e("Min", distance, np.int64(0))
    rows = e("Add", distance, np.int64(op.max_distance))
    refused = e("Sub", np.int64(2 * op.max_distance + 1), rows)
    return e("Where", e("Less", rows, np.int64(0)), refused, rows)
