"""The closed list of activations and how one is applied."""

from __future__ import annotations

import math
from typing import Literal

from flexit.ir.expansion.expander import Expander
from flexit.ir.program import Value

Activation = Literal[
    "relu", "relu2", "gelu", "gelu_tanh", "quick_gelu", "silu", "tanh", "sigmoid", "identity", "xielu"
]  # fmt: skip

SYNONYMS = {"swish": "silu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "linear": "identity"}
"""Other names users know, for the message that refuses them."""

ALPHA_P, ALPHA_N = math.log(math.expm1(0.8)), math.log(math.expm1(0.8 - 0.5))
"""First values of the scalars of ``xielu``, by which both of its slopes are 0.8."""


def activate(e: Expander, fn: Activation | None, x: Value, *, name: str = "") -> Value:
    """``fn`` of every element; none and ``identity`` change nothing. What it learns has parameters below ``name``."""
    if fn is None or fn == "identity":
        return x
    return e.xielu(x, name, alpha_p=ALPHA_P, alpha_n=ALPHA_N) if fn == "xielu" else e.unary(fn, x)
