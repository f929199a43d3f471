"""``dropout``: zeroes elements in training; the identity otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout(Op):
    """``x -> same``. ``per_row`` drops whole rows of the batch (stochastic depth, Huang et al. 2016)."""

    name: ClassVar[str] = "dropout"
    p: float
    per_row: bool = False

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and 0.0 < self.p < 1.0, f"dropout of {x} with p={self.p}")
        assert x is not None
        return (x,)
