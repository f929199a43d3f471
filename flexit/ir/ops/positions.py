"""``positions``: integers that number the slots of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions(Op):
    """``key_mask i64[B, T] ->`` ranks ``i64[B, T]`` (``valid``: unpadded slots before, at least 0), or slots
    ``i64[1, T]`` (``slot``: 0, 1, 2, ...).
    """

    name: ClassVar[str] = "positions"
    kind: Literal["valid", "slot"] = "valid"

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (mask,) = inputs
        require(mask is not None and mask.dtype == "i64" and mask.rank == 2, f"positions of {mask}")
        assert mask is not None
        return (mask if self.kind == "valid" else mask.with_dims((1, mask.dims[1])),)
