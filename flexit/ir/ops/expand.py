"""``expand``: a dim of 1 repeated, to a fixed size or to the length that another value has there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Expand(Op):
    """``x, like? -> y``, ``size`` copies along ``axis``; without ``size`` as many as ``like`` is long there."""

    name: ClassVar[str] = "expand"
    axis: int
    size: int | None = None

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        x, *like = inputs
        require(x is not None and x.dims[self.axis] == 1, f"expand axis {self.axis} of {x}")
        require(len(like) == (self.size is None), "expand takes a size or a value that has it")
        assert x is not None
        size = self.size if self.size is not None else like[0].dims[self.axis] if like[0] is not None else 1
        return (x.with_dims([size if axis == self.axis else dim for axis, dim in enumerate(x.dims)]),)
