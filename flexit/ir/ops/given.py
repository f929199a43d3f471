"""``given``: an optional graph input, or what stands for it where the caller leaves it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Given(Op):
    """``optional input, fallback -> value`` of the input's type; the fallback must broadcast to it."""

    name: ClassVar[str] = "given"

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        given, fallback = inputs
        require(given is not None and fallback is not None and given.dtype == fallback.dtype, f"{given}, {fallback}")
        assert given is not None
        return (given,)
