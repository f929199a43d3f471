"""``bucket``: integer arithmetic on distances."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flexit.ir.ops.bucket import Bucket
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def t5(q: Tensor, k: Tensor, n_buckets: int, *rest: int) -> Tensor:
    """Log-spaced buckets of k - q; see the op."""
    max_distance, two_sided = rest
    distance = k[:, None, :] - q[:, :, None]
    n = n_buckets // 2 if two_sided else n_buckets
    far = distance.abs() if two_sided else (-distance).clamp(min=0)
    exact = n // 2
    log = torch.log(far.clamp(min=1).to(torch.float32) / exact) / math.log(max_distance / exact)
    rows = torch.where(far < exact, far, (exact + (log * (n - exact)).to(torch.int64)).clamp(max=n - 1))
    return rows + (distance > 0).to(torch.int64) * n if two_sided else rows


def lower(node: Node, code: Code) -> Ref:
    """Rows of a bias table."""
    op = node.op
    assert isinstance(op, Bucket)
    q, k = (code[value] for value in node.inputs)
    return code.call(t5, q, k, op.n_buckets, op.max_distance, op.two_sided)
