"""``bucket``: integer arithmetic on distances."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flexit.ir.ops.bucket import Bucket
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def apart(q: Tensor, k: Tensor) -> Tensor:
    """Every k - q."""
    return k[:, None, :] - q[:, :, None]


def t5(q: Tensor, k: Tensor, n_buckets: int, *rest: int) -> Tensor:
    """Log-spaced buckets of k - q; see the op."""
    max_distance, two_sided = rest
    distance = apart(q, k)
    n = n_buckets // 2 if two_sided else n_buckets
    far = distance.abs() if two_sided else (-distance).clamp(min=0)
    exact = n // 2
    log = torch.log(far.clamp(min=1).to(torch.float32) / exact) / math.log(max_distance / exact)
    rows = torch.where(far < exact, far, (exact + (log * (n - exact)).to(torch.int64)).clamp(max=n - 1))
    return rows + (distance > 0).to(torch.int64) * n if two_sided else rows


def log(distance: Tensor, thresholds: Tensor, n_buckets: int) -> Tensor:
    """Log-spaced buckets of -distance; see the op."""
    far = distance.abs()
    beyond = torch.bucketize(far, thresholds, right=True)
    rows = n_buckets - (far.clamp(max=n_buckets // 2) + beyond) * distance.sign()
    return rows.clamp(0, 2 * n_buckets - 1)


def exact(distance: Tensor, max_distance: int, two_sided: bool) -> Tensor:
    """A row for each distance; see the op."""
    rows = (distance if two_sided else distance.clamp(max=0)) + max_distance
    return torch.where(rows < 0, 2 * max_distance + 1 - rows, rows)


def lower(node: Node, code: Code) -> Ref:
    """Rows of a bias table."""
    op = node.op
    assert isinstance(op, Bucket)
    q, k = (code[value] for value in node.inputs)
    if op.kind == "log":
        thresholds = code.constant(torch.tensor(op.thresholds(), dtype=torch.int64, device="cpu"))
        return code.call(log, code.call(apart, q, k), thresholds, op.n_buckets)
    if op.kind == "exact":
        return code.call(exact, code.call(apart, q, k), op.max_distance, op.two_sided)
    return code.call(t5, q, k, op.n_buckets, op.max_distance, op.two_sided)
