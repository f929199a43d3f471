"""One vector per row from a sequence, over its unpadded positions."""

from __future__ import annotations

from typing import Literal

from flexit.ir.blocks._empty import with_one
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.ops.positions import Positions
from flexit.ir.program import Value

Method = Literal["first", "last", "mean", "max"]
FAR_BELOW = -1e30
"""Added to padded positions before a maximum; finite, so that a row of pads stays finite."""


def pooled(e: Expander, x: Sequence, method: Method) -> Value:
    """``[batch, width]``: the first or last unpadded position, or the mean or maximum over all of them."""
    values, mask = with_one(e, x.x, x.axis)
    if method in ("first", "last"):
        return _picked(e, values, mask, last=method == "last")
    mask = e.reshape(e.cast(mask, "f32"), "=0", "=1", 1)  # in fp32, for sums over long rows
    if method == "max":
        hidden = e.binary("mul", e.add(mask, -1.0), -FAR_BELOW)
        return e.like(e.reduce("max", e.add(e.mul(values, mask), hidden), 1), x.x)
    total = e.reduce("sum", e.mul(values, mask), 1)
    return e.like(e.binary("div", total, e.binary("max", e.reduce("sum", mask, 1), 1.0)), x.x)


def _picked(e: Expander, x: Value, mask: Value, *, last: bool) -> Value:
    """The value at the first or last slot that is no padding."""
    here = e.mul(e.write(Positions(kind="slot"), mask, name="slots"), mask)
    if last:
        index = e.reduce("max", here, 1, keep=True)
    else:
        rank = e.write(Positions(), mask, name="rank")
        leading = e.binary("max", e.add(e.mul(rank, -1.0), 1.0), 0.0)
        index = e.reduce("sum", e.mul(here, leading), 1, keep=True)
    return e.reshape(e.take_along(x, e.reshape(index, "=0", 1, 1), 1), "=0", "*")
