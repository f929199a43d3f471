"""``dynamic``: a larger theta for rows beyond the trained length, by their length (Llama, CodeLlama variants)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from flexit.ir.block import Fault
from flexit.ir.language.kinds import PositiveFloat, PositiveInt
from flexit.ir.program import Value
from flexit.ir.scaling.base import Scaling, plain, too_narrow

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Dynamic(Scaling, kind="dynamic"):
    """theta * (factor * max(n, L) / L - factor + 1)^(dim / (dim - 2)), n the row's length, L the original one."""

    formula = (
        "theta' = theta (factor n / L - factor + 1)^(d / (d - 2)),  n the row's length, at least L = original_max_len"
    )
    source = "dynamic NTK scaling (emozilla 2023); Hugging Face's rope type dynamic"
    also_called: ClassVar[Mapping[str, str]] = {"dynamic_ntk": ""}
    by_length: ClassVar[bool] = True
    examples = ({"kind": "dynamic", "factor": 2.0, "original_max_len": 16},)

    factor: PositiveFloat
    """How fast theta grows with the length."""
    original_max_len: PositiveInt
    """Length up to which nothing changes; keys are cached unrotated, since it changes later for all of them."""

    def check_for(self, *, dim: int, head_dim: int, style: str) -> Iterator[Fault]:
        del head_dim, style
        yield from too_narrow(dim)

    def frequencies(self, *, theta: float, dim: int, head_dim: int) -> list[float]:
        del head_dim
        return plain(theta, dim)

    def stretched(self, e: Expander, length: Value, *, theta: float, dim: int) -> Value:
        longer = e.add(e.binary("max", length, float(self.original_max_len)), -float(self.original_max_len))
        growth = e.unary("log", e.add(e.mul(longer, self.factor / self.original_max_len), 1.0))
        pairs = dim // 2
        powers = e.constant([-2 * pair / (dim - 2) for pair in range(pairs)], (1, 1, pairs))
        slower = e.unary("exp", e.mul(growth, powers))
        return e.mul(slower, e.constant(plain(theta, dim), (1, 1, pairs)))
