"""``downsample``: neighbouring positions joined into one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flexit.ir.block import Block
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.ops.downsample import Downsample as DownsampleOp


class Downsample(Block, kind="downsample"):
    """Length n to ceil(n / factor), over the unpadded members of each group; positions count anew."""

    formula = "y_g = mean, max or first of the unpadded x_t with floor(t / factor) = g"
    source = "Dai et al. 2020 (Funnel-Transformer), arXiv 2006.03236, section 2"
    examples = ({"kind": "downsample", "factor": 2}, {"kind": "downsample", "factor": 3, "method": "max"})

    factor: Annotated[int, Field(ge=2)]
    """Positions per group."""
    method: Literal["mean", "max", "first"] = "mean"
    """How a group becomes one vector."""

    @property
    def why_not_packed(self) -> str:
        return "joins neighbours, which may be of two documents"

    def expand(self, e: Expander, x: Sequence) -> Sequence:
        op = DownsampleOp(factor=self.factor, method=self.method)
        y, _ = e.write_many(op, x.x, x.axis.new_mask, name="downsample")
        return Sequence(x=y, axis=e.shortened(x.axis, self.factor))
