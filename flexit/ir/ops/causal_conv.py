"""``causal_conv``: one causal filter per channel over the tokens that are no padding; its state is the last of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.dims import symbols
from flexit.ir.ops.op import Dependence, Measure, Op, product
from flexit.ir.program import Node
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalConv(Op):
    """``x[B, S, C], new_mask i64[B, S], document i64[B, S]? -> same``. Slots: ``weight [C, 1, kernel]``, ``bias [C]``.

    Taps go by rank: pads are left out wherever they stand, so a row gives the same with and without them; taps before
    the first token of the row, or of its document in packed rows, count as zero. State ``replace``
    ``[B, kernel - 1, C]``: the last unpadded inputs.
    """

    name: ClassVar[str] = "causal_conv"
    kernel: int

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        x, mask = inputs[:2]
        assert x is not None and mask is not None
        require(x.rank == 3 and x.dims[:2] == mask.dims, f"causal_conv of {x} under {mask}")
        return (x,)

    def flops(self, node: Node, measure: Measure) -> int:
        return 2 * product(node.output.dims, measure) * self.kernel

    def dependence(self, node: Node, seq: str) -> Dependence:
        x = node.inputs[0]
        assert x is not None
        return Dependence.CAUSAL if seq in symbols(x.dims[1]) else Dependence.POINTWISE
