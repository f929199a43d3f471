"""``positions``: integers that number the slots of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions(Op):
    """``key_mask i64[B, T], document i64[B, T]? -> i64[B, T]``: ranks (``valid``: unpadded slots before each one, at
    least 0), or slots (``slot``: 0, 1, 2, ...). With documents, of packed rows, both count within the slot's document;
    they may be left out when a model runs.
    """

    name: ClassVar[str] = "positions"
    kind: Literal["valid", "slot"] = "valid"

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        mask = inputs[0]
        require(mask is not None and mask.dtype == "i64" and mask.rank == 2, f"positions of {mask}")
        assert mask is not None
        return (mask,)
