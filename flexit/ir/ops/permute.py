"""``permute``: dims in another order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Permute(Op):
    """``x -> y`` with ``y.dims[i] = x.dims[perm[i]]``."""

    name: ClassVar[str] = "permute"
    perm: tuple[int, ...]

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and sorted(self.perm) == list(range(x.rank)), f"permute {self.perm} of {x}")
        assert x is not None
        return (x.with_dims([x.dims[axis] for axis in self.perm]),)
