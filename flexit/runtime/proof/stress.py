"""Weights on which faults show: gains are not 1, biases not 0, softmax is not flat. Fresh weights hide all of these."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from flexit.ir.program import Param, Program
from flexit.runtime.session import Array


def stress_weights(program: Program, *, seed: int = 0) -> dict[str, Array]:
    """fp32 arrays for every parameter, by path; each depends on the seed and its path alone."""
    return {param.path: _drawn(param, seed) for param in program.params()}


def _drawn(param: Param, seed: int) -> Array:
    digest = hashlib.sha256(f"stress {seed} {param.path}".encode()).digest()
    noise = np.random.default_rng(int.from_bytes(digest[:8], "big")).standard_normal(param.shape)
    if param.role in ("gain", "layer_scale", "mix"):
        return (1.0 - param.offset + 0.3 * noise).astype(np.float32)
    if param.role in ("bias", "sink"):
        return (0.3 * noise).astype(np.float32)
    if param.role in ("embedding", "position", "token_type", "learned_tokens", "score_bias"):
        return noise.astype(np.float32)
    fan_in = param.shape[-1] if param.role != "conv" else math.prod(param.shape[1:])
    return (noise * 1.2 / math.sqrt(fan_in)).astype(np.float32)
