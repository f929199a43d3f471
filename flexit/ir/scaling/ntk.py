"""``ntk``: a larger theta at every length (Hunyuan)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from flexit.ir.block import Fault
from flexit.ir.language.kinds import PositiveFloat
from flexit.ir.scaling.base import Scaling, plain, too_narrow


class Ntk(Scaling, kind="ntk"):
    """theta * alpha^(dim / (dim - 2)) in place of theta."""

    formula = "theta' = theta alpha^(d / (d - 2))"
    source = "NTK-aware scaling (bloc97 2023); Hugging Face's HunYuan models"
    also_called: ClassVar[Mapping[str, str]] = {"ntk_aware": ""}
    examples = ({"kind": "ntk", "alpha": 50.0},)

    alpha: PositiveFloat
    """How many times slower the last channel pair turns."""

    def check_for(self, *, dim: int, head_dim: int, style: str) -> Iterator[Fault]:
        del head_dim, style
        yield from too_narrow(dim)

    def frequencies(self, *, theta: float, dim: int, head_dim: int) -> list[float]:
        del head_dim
        return plain(theta * self.alpha ** (dim / (dim - 2)), dim)
