"""``embedding``: rows of a table by integer ids, whatever the ids mean (tokens, positions, types, buckets)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Op):
    """``ids i64[...] -> [..., width]``. Slot: ``weight [rows, width]``.

    ``tied``: the table is owned by another op of the program.
    """

    name: ClassVar[str] = "embedding"
    rows: int
    width: int
    tied: bool = False

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (ids,) = inputs
        require(ids is not None and ids.dtype == "i64", f"embedding of {ids}")
        assert ids is not None
        return (Type("f32", (*ids.dims, self.width)),)
