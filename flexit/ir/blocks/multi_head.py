"""``multi_head``: softmax attention with grouped heads, over the sequence itself or over a memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flexit.ir.attention.checks import check_cross, check_groups, check_heads, check_prefix, check_rotary, missing_mask
from flexit.ir.attention.output import Output
from flexit.ir.attention.projections import AttentionBias, biases, joined, split
from flexit.ir.attention.qk import Qk
from flexit.ir.attention.scores import Scores
from flexit.ir.block import Block, Fault, Inferred, Mixer, Port, Surroundings
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.expansion.reach import check_reach
from flexit.ir.language.kinds import INFERRED, InferredInt, PositiveFloat, PositiveInt, Probability
from flexit.ir.language.masks import Full, Mask
from flexit.ir.language.rotary import Rotary
from flexit.ir.program import Value
from flexit.ir.score_bias.base import Heads, Reader, Terms
from flexit.ir.score_bias.shared import read


class MultiHead(Mixer, kind="multi_head"):
    """softmax(scale * q k^T + bias) v; keys and values from memory where it is wired (Vaswani et al. 2017)."""

    formula = "y = W_o concat_h(softmax(scale Q_h K_g(h)^T + bias + mask) V_g(h))"
    source = "Vaswani et al. 2017, arXiv 1706.03762; grouped heads: Ainslie et al. 2023, arXiv 2305.13245"
    also_called: ClassVar[Mapping[str, str]] = {
        "mha": "", "attention": "", "attn": "", "self_attention": "", "self_attn": "", "multi_head_attention": "",
        "gqa": "n_kv_heads", "grouped_query_attention": "n_kv_heads", "mqa": "n_kv_heads: 1",
        "multi_query_attention": "n_kv_heads: 1",
    }  # fmt: skip
    usual: ClassVar[bool] = True
    inputs: ClassVar[Mapping[str, Port]] = {
        "x": Port(("sequence",)),
        "memory": Port(("sequence",), optional=True, chains=False),
    }
    examples = (
        {
            "kind": "multi_head", "n_heads": 2, "mask": "causal", "bias": True, "dropout": 0.1, "clip_qkv": 1.5,
            "output": {"gate": "sigmoid"}, "rotary": {},
        },
        {
            "kind": "multi_head", "n_heads": 4, "n_kv_heads": 2, "head_dim": 6, "v_head_dim": 5,
            "rotary": {"dim": 4, "scaling": {
                "kind": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 6.0], "original_max_len": 16,
                "factor": 4.0,
            }},
            "mask": {"kind": "causal", "window": 3, "keep_first": 1}, "qk": {"norm": "rms_norm", "gain": "per_head"},
            "scores": {"softcap": 2.0, "sinks": "learned", "temperature": {"scale": 0.5, "floor": 2}},
        },
        {
            "kind": "multi_head", "n_heads": 2, "mask": {"kind": "full", "chunk": 4},
            "scores": {"scale": 1.0, "bias": {"kind": "t5", "n_buckets": 8, "max_distance": 16}, "sinks": "zero"},
            "output": {"norm": "rms_norm"},
        },
        {"kind": "multi_head", "n_heads": 2, "n_kv_heads": 1},
    )  # fmt: skip

    n_heads: PositiveInt
    """Query heads."""
    n_kv_heads: InferredInt = None
    """Key and value heads, a divisor of n_heads (1: multi-query); inferred: n_heads."""
    head_dim: InferredInt = None
    """Channels per query and key head; inferred: width of x / n_heads."""
    v_head_dim: InferredInt = None
    """Channels per value head; inferred: head_dim."""
    bias: bool | AttentionBias = False
    """Biases of the projections."""
    rotary: Rotary | None = None
    """Rotation of q and k."""
    mask: Annotated[Mask | None, INFERRED] = None
    """Which keys a query sees; required in self-attention, full over another sequence."""
    clip_qkv: PositiveFloat | None = None
    """Clamps q, k and v to [-c, c] after projection (MPT, OLMo, DBRX)."""
    qk: Qk = Field(default_factory=Qk)
    """Norms of q and k."""
    scores: Scores = Field(default_factory=Scores)
    """Scale, softcap, bias, sinks and temperature."""
    after_heads: Output = Field(default_factory=Output, alias="output")
    """Norm and gate between the heads and the output projection."""
    dropout: Probability = 0.0
    """On the attention weights."""

    def spans(self) -> Iterator[tuple[str, int]]:
        if self.mask is not None:
            yield from ((f"mask.{field}", size) for field, size in self.mask.spans())

    @property
    def reads_prefix(self) -> bool:
        return self.mask is not None and self.mask.reads_prefix

    @property
    def sees_all(self) -> bool:
        return self.mask is not None and not self.mask.is_cached and not any(self.mask.spans())

    @property
    def counts_layers(self) -> bool:
        return self.scores.inverse_layer_scale

    @property
    def why_not_packed(self) -> str:
        turned = self.rotary.why_not_packed if self.rotary is not None else ""
        return turned or super().why_not_packed

    @property
    def orders(self) -> bool:
        return self.rotary is not None or self.scores.bias is not None

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        norm = {"q_norm": self.qk.norm, "k_norm": self.qk.norm, "norm": self.after_heads.norm}.get(path[0])
        if path[0] == "score_bias":
            return None if self.scores.bias is None else self.scores.bias.child(path[1:])
        return (norm, path[1:]) if norm is not None else super().child(path)

    def check(self) -> Iterator[Fault]:
        yield from check_groups(self.n_heads, self.n_kv_heads)
        if self.rotary is not None:
            yield from (replace(fault, field=f"rotary.{fault.field}") for fault in self.rotary.check())
        if self.mask is not None:
            yield from (replace(fault, field=f"mask.{fault.field}") for fault in self.mask.check())
        yield from self.qk.check_with(self.rotary)

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        x: Sequence = ports["x"]
        memory: Sequence = ports.get("memory", x)
        heads = check_heads(self.n_heads, x.width, groups=self.n_kv_heads, rotary=self.rotary)
        found = list(heads) if self.head_dim is None else []
        if found:
            yield from found
        elif memory.axis is x.axis:
            yield from self._check_self(x, memory)
        else:
            masked = self.mask is not None and self.mask != Full()
            rotated, biased = self.rotary is not None, self.scores.bias is not None
            yield from check_cross(self, memory, rotary=rotated, bias=biased, mask=masked)

    def _check_self(self, x: Sequence, source: Sequence) -> Iterator[Fault]:
        if self.mask is None:
            yield missing_mask()
            return
        heads = self._heads(x, source)
        yield from check_prefix(self.mask, x)
        if self.rotary is not None:
            yield from check_rotary(self.rotary, heads.head_dim, written=self.head_dim is not None)
        if self.scores.bias is not None:
            yield from check_reach("scores.bias.max_len", self.scores.bias.max_positions, x)
            for fault in self.scores.bias.check_for(heads):
                yield replace(fault, field=f"scores.bias.{fault.field}")

    def _heads(self, x: Sequence, source: Sequence) -> Heads:
        """Everything about the heads that was left out, too."""
        head_dim = self.head_dim or x.width // self.n_heads
        return Heads(
            n_heads=self.n_heads, n_kv_heads=self.n_kv_heads or self.n_heads, head_dim=head_dim,
            v_head_dim=self.v_head_dim or head_dim, width=x.width, key_width=source.width,
            mask=self.mask or Full(), sinks=self.scores.sinks is not None,
        )  # fmt: skip

    def expand(self, e: Expander, x: Sequence, memory: Sequence | None = None) -> Sequence:
        source = memory or x
        heads, cross = self._heads(x, source), source.axis is not x.axis
        bias = biases(self.bias)
        q = self._clipped(e, self._project_q(e, x.x, heads))
        k = self._clipped(e, self._project_k(e, source.x, heads))
        v = self._clipped(e, e.linear(source.x, heads.n_kv_heads * heads.v_head_dim, "v_proj", bias=bias.v))
        causal = not cross and heads.cached
        rotation = None if self.rotary is None else self.rotary.rotation(e, x.axis, heads.head_dim, causal=causal)
        q = self.qk.heads(e, q, "q_norm", heads=heads.n_heads)
        q = self.scores.tempered(e, self.qk.turned(e, q, "q_norm", rotation=rotation), x.axis)
        k = self.qk.heads(e, k, "k_norm", heads=heads.n_kv_heads)
        late = None if rotation is None else rotation.keys
        k = self.qk.turned(e, k, "k_norm", rotation=rotation) if late is None else k
        v = split(e, v, heads.n_kv_heads)
        if cross:
            k, v = e.keep(k, source.axis, "key"), e.keep(v, source.axis, "value")
        elif causal:
            k, v = e.append(k, x.axis, "key", dim=2), e.append(v, x.axis, "value", dim=2)
        k = k if late is None else self.qk.turned(e, k, "k_norm", rotation=rotation, table=late)
        mask = e.mask(source.axis, queries=x.axis) if cross else heads.mask.expand(e, x.axis)
        terms = Terms() if cross else self._terms(e, x, heads, q=q, k=k)
        y = self.scores.mixed(
            e, q=q, k=k, v=v, mask=mask, causal=causal, dropout=self.dropout, terms=terms,
            scale=self.scores.factor(heads.head_dim), by_layer=self.scores.by_layer(e, self), keyless=cross,
        )  # fmt: skip
        y = self.after_heads.apply(e, joined(e, y), x=x.x)
        return x.of(e.linear(y, x.width, "o_proj", bias=bias.o, role="residual_projection"))

    def _clipped(self, e: Expander, h: Value) -> Value:
        """Queries, keys or values within the bound, if there is one."""
        bound = self.clip_qkv
        return h if bound is None else e.binary("min", e.binary("max", h, -bound), bound)

    def _project_q(self, e: Expander, rows: Value, heads: Heads) -> Value:
        width, head_dim = heads.n_heads * heads.head_dim, heads.head_dim
        bias = biases(self.bias).q
        return e.linear(rows, width, "q_proj", bias=bias, role="query_projection", head_dim=head_dim)

    def _project_k(self, e: Expander, rows: Value, heads: Heads) -> Value:
        return e.linear(rows, heads.n_kv_heads * heads.head_dim, "k_proj", bias=biases(self.bias).k)

    def _terms(self, e: Expander, x: Sequence, heads: Heads, *, q: Value, k: Value) -> Terms:
        """What the score bias adds, the attention's own or the stack's."""
        bias = biases(self.bias)
        reader = Reader(
            heads=heads, axis=x.axis, q=q, k=k, scale=self.scores.factor(heads.head_dim),
            project_q=lambda rows: self._project_q(e, rows, heads),
            project_k=lambda rows: self._project_k(e, rows, heads), biased=(bias.q, bias.k),
        )  # fmt: skip
        return read(e, self, self.scores.bias, reader=reader)

    def inferred(self, around: Surroundings) -> Iterator[Inferred]:
        head_dim = self.head_dim or around.width // self.n_heads
        if self.n_kv_heads is None:
            yield Inferred("n_kv_heads", self.n_heads, "= n_heads")
        if self.head_dim is None:
            yield Inferred("head_dim", head_dim, f"= {around.width} / n_heads")
        if self.v_head_dim is None:
            yield Inferred("v_head_dim", head_dim, "= head_dim")
        if self.rotary is not None and self.rotary.dim is None:
            yield Inferred("rotary.dim", head_dim, "= head_dim")
        if self.mask is None:
            yield Inferred("mask", "full", "over another sequence")
