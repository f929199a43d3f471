"""The ``Dense`` group of heads and poolers: linear, activation, norm."""

from __future__ import annotations

from flexit.ir.block import Block, Norm
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.activations import Activation, activate
from flexit.ir.language.kinds import Group, InferredInt
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

    def apply(self, e: Expander, x: Value, *, dim: int | None = None) -> Value:
        """``norm(activation(linear(x)))`` with parameters ``dense`` and ``dense_norm``.

        Args:
            e: what the ops are written with.
            x: its input.
            dim: its width where it says none; else that of ``x``.
        """
        width = x.dims[-1]
        assert isinstance(width, int)
        h = activate(e, self.activation, e.linear(x, self.dim or dim or width, "dense", bias=self.bias), name="dense")
        return h if self.norm is None else self.norm.apply(e, h, "dense_norm")


def in_dense(dense: Dense | None, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
    """The norm of a hidden layer, if a parameter path leads to it."""
    if dense is None or dense.norm is None or path[0] != "dense_norm":
        return None
    return dense.norm, path[1:]
