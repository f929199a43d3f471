"""One vector per row from a sequence, over its unpadded positions."""

from __future__ import annotations

from typing import Literal

from flexit.ir.edges import Sequence
from flexit.ir.expander import Expander
from flexit.ir.program import Value

Method = Literal["first", "last", "mean", "max"]
FAR_BELOW = -1e30
"""Added to padded positions before a maximum; finite, so that a row of pads stays finite."""


def pooled(e: Expander, x: Sequence, method: Method) -> Value:
    """``[batch, width]``: the first or last unpadded position, or the mean or maximum over all of them."""
    if method in ("first", "last"):
        return _picked(e, x, method)
    mask = e.reshape(e.cast(x.axis.new_mask, "f32"), "=0", "=1", 1)  # in fp32, for sums over long rows
    if method == "max":
        hidden = e.binary("mul", e.add(mask, -1.0), -FAR_BELOW)
        return e.like(e.reduce("max", e.add(e.mul(x.x, mask), hidden), 1), x.x)
    total = e.reduce("sum", e.mul(x.x, mask), 1)
    return e.like(e.binary("div", total, e.binary("max", e.reduce("sum", mask, 1), 1.0)), x.x)


def _picked(e: Expander, x: Sequence, method: Method) -> Value:
    slots = e.slots(x.axis)
    if x.axis.decoded:
        slots = e.binary("sub", slots, e.slice(slots, 1, start=0, stop=1))
    here = e.mul(slots, x.axis.new_mask)
    if method == "first":
        leading = e.binary("max", e.add(e.mul(x.axis.new_rank, -1.0), 1.0), 0.0)
        index = e.reduce("sum", e.mul(here, leading), 1, keep=True)
    else:
        index = e.reduce("max", here, 1, keep=True)
    chosen = e.take_along(x.x, e.reshape(index, "=0", 1, 1), 1)
    return e.reshape(chosen, "=0", "*")
