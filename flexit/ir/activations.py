"""The closed list of activations and how one is applied."""

from __future__ import annotations

from typing import Literal

from flexit.ir.expander import Expander
from flexit.ir.program import Value

Activation = Literal[
    "relu", "relu2", "gelu", "gelu_tanh", "quick_gelu", "silu", "tanh", "sigmoid", "identity"
]  # fmt: skip

LATER = ("xielu",)
"""Activations of the language that this build does not have yet."""

SYNONYMS = {"swish": "silu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "linear": "identity"}
"""Other names users know, for the message that refuses them."""


def activate(e: Expander, fn: Activation | None, x: Value) -> Value:
    """``fn`` of every element; none and ``identity`` change nothing."""
    return x if fn is None or fn == "identity" else e.unary(fn, x)
