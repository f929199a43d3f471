"""``keep``: computed once and kept while decoding; ends the dependence on what produced it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep(Op):
    """``x -> x``. One state of rule ``static``."""

    name: ClassVar[str] = "keep"

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None, "keep of nothing")
        assert x is not None
        return (x,)
