"""``norm``: normalisation over the last dim, with an optional gain and bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from flexit.ir.ops.op import Op
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm(Op):
    """``x[..., d] -> same``. Slots: ``weight`` (``[d]``, or ``[1]`` for a scalar gain), ``bias [d]``; both optional.

    Attributes:
        kind: ``layer`` (Ba et al. 2016), ``rms`` (Zhang and Sennrich 2019), ``l2``: x / sqrt(sum(x^2) + eps), or
            ``std``: (x - mean) / (std + eps) with the unbiased standard deviation.
        eps: inside the square root; of ``std`` outside.
        offset: added to the stored gain before it is used.
        fp32_gain: multiply by the gain before casting back from fp32, which differs below fp32 only.
    """

    name: ClassVar[str] = "norm"
    kind: Literal["layer", "rms", "l2", "std"]
    eps: float
    offset: float = 0.0
    fp32_gain: bool = False

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        require(x is not None and isinstance(x.dims[-1], int), f"norm of {x}")
        assert x is not None
        return (x,)
