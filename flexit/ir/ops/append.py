"""``append``: new values joined to those of earlier steps. The identity where nothing is cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.dims import Size
from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Append(Op):
    """``x -> past ++ x`` along ``axis``, which then has the length ``total``. One state of rule ``append``."""

    name: ClassVar[str] = "append"
    axis: int
    total: Size

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and 0 < self.axis < x.rank, f"append axis {self.axis} of {x}")
        assert x is not None
        return (x.with_dims([self.total if axis == self.axis else dim for axis, dim in enumerate(x.dims)]),)
