"""``xielu``: an activation with two learned scalars (Huang and Schlag 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Xielu(Op):
    """``x -> same``. Slots: ``alpha_p [1]``, ``alpha_n [1]``.

    p x^2 + x/2 for x > 0, else n (expm1(min(x, -1e-6)) - x) + x/2, with p = softplus(alpha_p), n = softplus(alpha_n) +
    1/2. It is no composition of other ops, since none chooses between two values.
    """

    name: ClassVar[str] = "xielu"

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and x.dtype == "f32", f"xielu of {x}")
        assert x is not None
        return (x,)
