"""``given``: an optional graph input, or what stands for it where the caller leaves it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Given(Op):
    """``optional input, fallback -> value`` of the input's type; the fallback must broadcast to it.

    Attributes:
        fallback: what the fallback is, for those who fill the input in before the graph runs: ranks, slots, a count of
            tokens by their ids, or zeros.
        first: what the fallback begins with.
    """

    name: ClassVar[str] = "given"
    fallback: Literal["rank", "slot", "count", "zero"] = "rank"
    first: int = 0

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        given, fallback = inputs
        require(given is not None and fallback is not None and given.dtype == fallback.dtype, f"{given}, {fallback}")
        assert given is not None
        return (given,)
