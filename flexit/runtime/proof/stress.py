"""Weights on which faults show: gains are not 1, biases not 0, softmax is not flat, and some rows that reach a norm
are so small that its eps matters. Fresh weights hide all of these.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from flexit.ir.ops.attention import Attention
from flexit.ir.program import Node, Param, Program, Region, join, walk
from flexit.runtime.sessions.session import Array

SMALL, SMALL_FIRST, SMALL_EVERY = 1e-3, 2, 3
"""Every third row of a table is this small: its variance is about the eps of norms."""


def stress_weights(program: Program, *, seed: int = 0) -> dict[str, Array]:
    """fp32 arrays for every parameter, by path; each depends on the seed, its path and its region alone.

    Attention that does not divide by the square root of the head width gets smaller queries instead, as models of that
    kind are trained with: scores of 50 would make softmax a choice that rounding decides.
    """
    factors: dict[str, float] = {}
    for prefix, region in walk(program.root):
        for param in region.params:
            factors.setdefault(join(prefix, param.path), _tamed(param, region))
    return {param.path: _drawn(param, seed) * np.float32(factors[param.path]) for param in program.params()}


def _tamed(param: Param, region: Region) -> float:
    """1, or for queries what is missing from the scale of their attention."""
    if param.role != "query_projection" or not param.head_dim:
        return 1.0
    ops = (node.op for node in region.nodes if isinstance(node, Node))
    scale = max((op.scale for op in ops if isinstance(op, Attention)), default=0.0)
    return min(1.0, param.head_dim**-0.5 / scale) if scale else 1.0


def _drawn(param: Param, seed: int) -> Array:
    digest = hashlib.sha256(f"stress {seed} {param.path}".encode()).digest()
    noise = np.random.default_rng(int.from_bytes(digest[:8], "big")).standard_normal(param.shape)
    if param.role in ("gain", "layer_scale", "mix"):
        return (1.0 - param.offset + 0.3 * noise).astype(np.float32)
    if param.role in ("bias", "sink", "slope", "selection_bias"):
        return (0.3 * noise).astype(np.float32)
    if param.role in ("embedding", "position", "token_type"):
        noise[SMALL_FIRST::SMALL_EVERY] *= SMALL
    if param.role in ("embedding", "position", "token_type", "learned_tokens", "score_bias"):
        return noise.astype(np.float32)
    fan_in = param.shape[-1] if param.role != "conv" else math.prod(param.shape[1:])
    return (noise * 1.2 / math.sqrt(fan_in)).astype(np.float32)
