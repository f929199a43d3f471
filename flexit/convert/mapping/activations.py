"""The form of activations: names of Hugging Face's ``ACT2FN`` and ours."""

from __future__ import annotations

from typing import Any

from flexit.convert.mapping.forms import Data, Form, Found, Incomplete, Mismatch, Scope

NAMES = {
    "gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh", "gelu_accurate": "gelu_tanh", "gelu_python_tanh": "gelu_tanh", "quick_gelu": "quick_gelu",
    "silu": "silu", "swish": "silu", "relu": "relu", "relu2": "relu2", "sigmoid": "sigmoid", "tanh": "tanh",
    "linear": "identity", "xielu": "xielu",
}  # fmt: skip
"""Theirs to ours."""


class Activation(Form):
    """``{$activation: key}``; ``gelu: gelu_new`` beside it says what the key means by ``gelu`` in this family."""

    name = "activation"
    arguments = frozenset({"gelu"})

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        key = str(args[""])
        given = scope.value(key)
        told = args.get("gelu", given) if given == "gelu" else given
        if told not in NAMES:
            raise Incomplete(key, f"one of {', '.join(NAMES)}", given)
        return NAMES[told]

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        theirs = [name for name, ours in NAMES.items() if ours == value]
        if not theirs:
            raise Mismatch(f"one of {', '.join(sorted(set(NAMES.values())))}", value)
        meant = args.get("gelu", "gelu")
        plain = [name for name in theirs if name != "gelu" or NAMES[meant] == value]
        if not plain:
            plain = ["gelu_python"]
        found.bind(str(args[""]), plain[0])
