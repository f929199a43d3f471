"""``expand``: a dim of 1 repeated to a fixed size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Expand(Op):
    """``x -> y``, ``size`` copies along ``axis``."""

    name: ClassVar[str] = "expand"
    axis: int
    size: int

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and x.dims[self.axis] == 1, f"expand axis {self.axis} of {x}")
        assert x is not None
        return (x.with_dims([self.size if axis == self.axis else dim for axis, dim in enumerate(x.dims)]),)
