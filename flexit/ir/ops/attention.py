"""``attention``: what happens inside softmax(QK)V, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.dims import symbols
from flexit.ir.ops.op import Dependence, Measure, Op, product
from flexit.ir.program import Node
from flexit.ir.types import Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention(Op):
    """``q[B,H,S,Dk], k[B,G,T,Dk], v[B,G,T,Dv], mask?, bias?, sinks?[H], table?[1|B,1|H,S,T,Dv], inner? -> [B,H,S,Dv]``.

    scale * q.k + inner, then softcap (c * tanh(s / c)), + bias, mask, sinks (one more logit per head in the
    denominator), softmax, dropout; weights times v, plus weights times the value table (Shaw et al. 2018). ``inner``
    and ``bias`` are ``[1|B, 1|H, 1|S, T]``. Query head h reads key head h // (H / G).

    With ``keyless`` the mask may leave a query without any key, as where all of a memory is padding: it gets zeros.
    Without it such a row is finite, no more.
    """

    name: ClassVar[str] = "attention"
    scale: float
    softcap: float | None = None
    causal: bool = False
    dropout: float = 0.0
    keyless: bool = False

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        q, k, v = inputs[:3]
        assert q is not None and k is not None and v is not None
        heads, groups = q.dims[1], k.dims[1]
        require(isinstance(heads, int) and isinstance(groups, int) and heads % groups == 0, f"attention of {q}, {k}")
        require(q.dims[3] == k.dims[3] and k.dims[:3] == v.dims[:3], f"attention of {q}, {k}, {v}")
        mask = inputs[3] if len(inputs) > 3 else None
        require(mask is None or (mask.dims[3] == k.dims[2] and mask.dims[2] in (1, q.dims[2])), f"{mask} over {q}, {k}")
        return (q.with_dims((*q.dims[:3], v.dims[3])),)

    def flops(self, node: Node, measure: Measure) -> int:
        q, k, v = node.inputs[:3]
        assert q is not None and k is not None and v is not None
        pairs = product((*q.dims[:3], k.dims[2]), measure)
        return 2 * pairs * (measure(q.dims[3]) + measure(v.dims[3]))

    def dependence(self, node: Node, seq: str) -> Dependence:
        q, k = node.inputs[:2]
        assert q is not None and k is not None
        if seq in symbols(k.dims[2]):
            return Dependence.GLOBAL
        appended = self.causal and seq in symbols(q.dims[2])
        return Dependence.CAUSAL if appended else Dependence.POINTWISE
