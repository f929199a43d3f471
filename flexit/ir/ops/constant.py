"""``constant``: fixed numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import DType, Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(Op):
    """``-> dtype[shape]``, ``numbers`` in row-major order. Equal constants may be stored once."""

    name: ClassVar[str] = "constant"
    dtype: DType
    shape: tuple[int, ...]
    numbers: tuple[float, ...]

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        del inputs
        require(prod(self.shape) == len(self.numbers), f"constant of {len(self.numbers)} numbers in {self.shape}")
        return (Type(self.dtype, self.shape),)
