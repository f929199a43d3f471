"""The ``Dense`` group of heads and poolers: linear, activation, norm."""

from __future__ import annotations

from flexit.ir.activations import Activation, activate
from flexit.ir.block import Norm
from flexit.ir.expander import Expander
from flexit.ir.language import Group, InferredInt
from flexit.ir.program import Value


class Dense(Group):
    """A hidden layer."""

    dim: InferredInt = None
    """Its width; inferred: the input's."""
    activation: Activation | None = "tanh"
    """Its function."""
    norm: Norm | None = None
    """After the activation."""
    bias: bool = False
    """Of the linear map."""

    def apply(self, e: Expander, x: Value) -> Value:
        """``norm(activation(linear(x)))`` with parameters ``dense`` and ``dense_norm``."""
        width = x.dims[-1]
        assert isinstance(width, int)
        h = activate(e, self.activation, e.linear(x, self.dim or width, "dense", bias=self.bias))
        return h if self.norm is None else self.norm.apply(e, h, "dense_norm")
