"""``linear``: a learned map of the channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from flexit.ir.block import Block, Port
from flexit.ir.expansion.edges import Sequence, Vector
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.activations import Activation, activate
from flexit.ir.language.kinds import PositiveInt


class Linear(Block, kind="linear"):
    """activation(x W^T + b), per position."""

    formula = "y = activation(W x + b)"
    source = "its definition; torch.nn.Linear"
    also_called: ClassVar[Mapping[str, str]] = {"dense": "", "projection": "", "proj": "", "fc": ""}
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence", "vector"))}
    widths: ClassVar[Mapping[str, int]] = {"d_out": 1}
    examples = ({"kind": "linear", "d_out": 24}, {"kind": "linear", "d_out": 8, "bias": True, "activation": "tanh"})

    d_out: PositiveInt
    """Output width."""
    bias: bool = False
    """Add a learned offset."""
    activation: Activation | None = None
    """Applied to the result."""

    def expand(self, e: Expander, x: Sequence | Vector) -> Sequence | Vector:
        return x.of(activate(e, self.activation, e.linear(x.x, self.d_out, "", bias=self.bias)))
