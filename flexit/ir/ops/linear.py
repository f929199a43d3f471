"""``linear``: the last dim mapped by a weight, plus a bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Measure, Op, product
from flexit.ir.program import Node
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Op):
    """``x[..., in] -> [..., d_out]``, ``y = x W^T + b``. Slots: ``weight [d_out, in]``, ``bias [d_out]``.

    ``tied``: the weight is a table that another op of the program owns.
    """

    name: ClassVar[str] = "linear"
    d_out: int
    tied: bool = False

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and x.rank >= 1 and isinstance(x.dims[-1], int), f"linear of {x}")
        assert x is not None
        return (x.with_dims((*x.dims[:-1], self.d_out)),)

    def flops(self, node: Node, measure: Measure) -> int:
        (x,) = node.inputs
        assert x is not None
        return 2 * product(x.dims, measure) * self.d_out
