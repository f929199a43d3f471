"""``multi_head``: softmax attention with grouped heads, over the sequence itself or over a memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isqrt
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flexit.ir.block import Block, Fault, Inferred, Mixer, Norm, Port, Surroundings
from flexit.ir.edges import Sequence
from flexit.ir.expander import Expander
from flexit.ir.language import INFERRED, Group, InferredInt, PositiveFloat, PositiveInt, Probability
from flexit.ir.masks import Full, Mask
from flexit.ir.program import Value
from flexit.ir.rotary import Rotary
from flexit.ir.score_bias.base import Bias, SharedBias
from flexit.ir.wording import shown


class AttentionBias(Group):
    """Which projections have a bias (Qwen2: q, k, v; Whisper: q, v, o)."""

    q: bool = False
    """Queries."""
    k: bool = False
    """Keys."""
    v: bool = False
    """Values."""
    o: bool = False
    """Output."""


class Qk(Group):
    """What happens to q and k between projection and scores."""

    later: ClassVar[tuple[str, ...]] = ("gain", "v_norm")

    norm: Norm | None = None
    """On q and k."""
    over: Literal["head", "all"] = "head"
    """Statistics per head, or over all heads at once (OLMo2)."""
    at: Literal["before_rotary", "after_rotary"] = "before_rotary"
    """Only with rotary; after: Hunyuan."""


class Scores(Group):
    """scale * q.k, + bias, mask, softmax."""

    later: ClassVar[tuple[str, ...]] = ("inverse_layer_scale", "softcap", "sinks", "temperature")

    scale: PositiveFloat | Literal["rsqrt_head_dim"] = "rsqrt_head_dim"
    """Factor on q.k; 1.0 = none (T5, GPT-Neo)."""
    bias: Bias | None = None
    """This attention's own bias."""


class MultiHead(Mixer, kind="multi_head"):
    """softmax(scale * q k^T + bias) v; keys and values from memory where it is wired (Vaswani et al. 2017)."""

    inputs: ClassVar[Mapping[str, Port]] = {
        "x": Port(("sequence",)),
        "memory": Port(("sequence",), optional=True, chains=False),
    }
    later: ClassVar[tuple[str, ...]] = ("clip_qkv", "output")
    examples = (
        {"kind": "multi_head", "n_heads": 2, "mask": "causal", "bias": True, "dropout": 0.1},
        {
            "kind": "multi_head", "n_heads": 4, "n_kv_heads": 2, "head_dim": 6, "v_head_dim": 5,
            "rotary": {"dim": 4}, "mask": {"kind": "causal", "window": 3}, "qk": {"norm": "rms_norm"},
        },
        {
            "kind": "multi_head", "n_heads": 2, "mask": "full",
            "scores": {"scale": 1.0, "bias": {"kind": "t5", "n_buckets": 8, "max_distance": 16}},
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
    qk: Qk = Field(default_factory=Qk)
    """Norms of q and k."""
    scores: Scores = Field(default_factory=Scores)
    """Scale and bias."""
    dropout: Probability = 0.0
    """On the attention weights."""

    def spans(self) -> Iterator[tuple[str, int]]:
        if self.mask is not None:
            yield from ((f"mask.{field}", size) for field, size in self.mask.spans())

    @property
    def sees_all(self) -> bool:
        return self.mask is not None and not self.mask.is_causal and not any(self.mask.spans())

    @property
    def orders(self) -> bool:
        return self.rotary is not None or self.scores.bias is not None

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        if self.qk.norm is not None and path[0] in ("q_norm", "k_norm"):
            return self.qk.norm, path[1:]
        return super().child(path)

    def check(self) -> Iterator[Fault]:
        groups = self.n_kv_heads
        if groups is not None and self.n_heads % groups:
            divisors = _divisors(self.n_heads)
            near = [n for n in divisors if n < groups][-1:] + [n for n in divisors if n > groups][:1]
            yield Fault(
                code="FX0404", field="n_kv_heads", message="does not divide n_heads",
                expected=f"a divisor of n_heads, which is {self.n_heads}{{line n_heads}}: {_listed(divisors)}",
                found=str(groups), cure=f"set n_kv_heads to {_listed(near)}",
            )  # fmt: skip
        if self.rotary is not None:
            yield from (replace(fault, field=f"rotary.{fault.field}") for fault in self.rotary.check())
        if self.qk.at != "before_rotary" and self.rotary is None:
            yield Fault(
                code="FX0501", field="qk.at", message="has no effect", expected="before_rotary, since rotary is null",
                found=self.qk.at, cure="delete qk.at, or write rotary: {}",
            )  # fmt: skip
        if self.qk.norm is None and (self.qk.over != "head" or self.qk.at != "before_rotary"):
            field = "over" if self.qk.over != "head" else "at"
            yield Fault(
                code="FX0501", field=f"qk.{field}", message="has no effect",
                expected="the default, since qk.norm is null", found=str(getattr(self.qk, field)),
                cure=f"delete qk.{field}, or write qk.norm",
            )  # fmt: skip

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        x: Sequence = ports["x"]
        memory: Sequence = ports.get("memory", x)
        if self.head_dim is None and x.width % self.n_heads:
            near = sorted(_divisors(x.width), key=lambda n: abs(n - self.n_heads))[:3]
            yield Fault(
                code="FX0403", field="n_heads", message="does not divide the width of x",
                expected=f"a divisor of {x.width}, or head_dim written", found=str(self.n_heads),
                cure=f"set n_heads to {_listed(sorted(near))}, or write head_dim",
            )  # fmt: skip
            return
        if memory.axis is x.axis:
            yield from self._check_self(x)
        else:
            yield from self._check_cross(memory)

    def _check_self(self, x: Sequence) -> Iterator[Fault]:
        if self.mask is None:
            yield Fault(
                code="FX0202", field="mask", message="required field is missing",
                expected="a Mask: full or causal (there is no default)", found="nothing",
                cure="add mask: causal for a language model, mask: full for an encoder",
            )  # fmt: skip
            return
        if self.rotary is not None:
            yield from self._check_rotary(x, self.rotary)
        if self.scores.bias is not None:
            for fault in self.scores.bias.check_for(two_sided=not self.mask.is_causal):
                yield replace(fault, field=f"scores.bias.{fault.field}")

    def _check_rotary(self, x: Sequence, rotary: Rotary) -> Iterator[Fault]:
        head_dim = self._head_dim(x)
        dim = rotary.dim or head_dim
        if dim > head_dim:
            yield Fault(
                code="FX0405", field="rotary.dim", message="more channels than a head has", found=str(dim),
                expected=f"at most head_dim, which is {head_dim}", cure=f"set rotary.dim to {head_dim} or less",
            )  # fmt: skip
        elif dim % 2:
            because = "" if rotary.dim else ", because rotary.dim is head_dim unless written"
            cure = f"write rotary: {{dim: {dim - 1}}}" if dim > 2 else "make head_dim even"
            yield Fault(
                code="FX0405", field="rotary.dim" if rotary.dim else "head_dim" if self.head_dim else "rotary",
                message="odd number of rotated channels",
                expected="an even number, since rotary turns channels in pairs", found=f"{dim}{because}",
                cure=f"make head_dim even, or {cure}" if dim > 2 else cure,
            )  # fmt: skip

    def _check_cross(self, memory: Sequence) -> Iterator[Fault]:
        refused: list[tuple[str, str, str]] = []
        if self.rotary is not None:
            refused.append(("rotary", "rotation in cross-attention", "whose positions cannot be compared"))
        if self.scores.bias is not None:
            refused.append(("scores.bias", "a score bias in cross-attention", "whose positions cannot be compared"))
        if self.mask is not None and self.mask != Full():
            refused.append(("mask", "a mask in cross-attention", "all of whose unpadded keys are visible"))
        for field, message, reason in refused:
            legal = "full" if field == "mask" else "null"
            written = "" if self.node is None else shown(self.node.find(tuple(field.split(".")))[0].plain())
            yield Fault(
                code="FX0502", field=field, message=message,
                expected=f"{legal}: memory is another sequence ({memory.axis.described}), {reason}",
                found=written or "one", cure=f"delete {field} here; keep it in attention",
            )  # fmt: skip

    def expand(self, e: Expander, x: Sequence, memory: Sequence | None = None) -> Sequence:
        source = memory or x
        cross = source.axis is not x.axis
        head_dim, groups = self._head_dim(x), self.n_kv_heads or self.n_heads
        v_dim = self.v_head_dim or head_dim
        bias = self.bias if isinstance(self.bias, AttentionBias) else AttentionBias(**dict.fromkeys("qkvo", self.bias))
        q = e.linear(x.x, self.n_heads * head_dim, "q_proj", bias=bias.q, role="query_projection", head_dim=head_dim)
        k = e.linear(source.x, groups * head_dim, "k_proj", bias=bias.k)
        v = e.linear(source.x, groups * v_dim, "v_proj", bias=bias.v)
        q = self._prepared(e, x, q, norm_name="q_norm", heads=self.n_heads, head_dim=head_dim)
        k = self._prepared(e, x, k, norm_name="k_norm", heads=groups, head_dim=head_dim)
        v = _split(e, v, groups, dim=v_dim)
        causal = not cross and self.mask is not None and self.mask.is_causal
        if cross:
            k, v = e.keep(k, source.axis, "key"), e.keep(v, source.axis, "value")
        elif causal:
            k, v = e.append(k, x.axis, "key", dim=2), e.append(v, x.axis, "value", dim=2)
        scale = head_dim**-0.5 if self.scores.scale == "rsqrt_head_dim" else self.scores.scale
        pieces = tuple(self.mask.pieces()) if self.mask is not None and not cross else ()
        mask = e.mask(source.axis, pieces, causal=causal)
        score_bias = None if cross else self._score_bias(e, x, causal)
        y = e.attention(q, k, v, mask=mask, bias=score_bias, scale=scale, causal=causal, dropout=self.dropout)
        y = e.reshape(e.permute(y, 0, 2, 1, 3), "=0", "=1", "*")
        return x.of(e.linear(y, x.width, "o_proj", bias=bias.o, role="residual_projection"))

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

    def _head_dim(self, x: Sequence) -> int:
        return self.head_dim or x.width // self.n_heads

    def _prepared(self, e: Expander, x: Sequence, h: Value, *, norm_name: str, heads: int, head_dim: int) -> Value:
        """Heads of q or k, normed and rotated: ``[batch, heads, seq, head_dim]``."""
        norm, late = self.qk.norm, self.qk.at == "after_rotary"
        if norm is not None and not late and self.qk.over == "all":
            h = norm.apply(e, h, norm_name)
        h = e.reshape(h, "=0", "=1", heads, head_dim)
        if norm is not None and not late and self.qk.over == "head":
            h = norm.apply(e, h, norm_name)
        h = e.permute(h, 0, 2, 1, 3)
        if self.rotary is not None:
            dim = self.rotary.dim or head_dim
            h = e.rotate(h, e.rotary(x.axis, dim=dim, theta=self.rotary.theta), dim=dim, style=self.rotary.style)
        if norm is not None and late and self.qk.over == "head":
            h = norm.apply(e, h, norm_name)
        if norm is not None and late and self.qk.over == "all":
            flat = e.reshape(e.permute(h, 0, 2, 1, 3), "=0", "=1", "*")
            h = _split(e, norm.apply(e, flat, norm_name), heads, dim=head_dim)
        return h

    def _score_bias(self, e: Expander, x: Sequence, causal: bool) -> Value | None:
        shared: SharedBias | None = e.provided("score_bias")
        own = self.scores.bias
        if shared is not None and own is not None:
            e.refuse(self, Fault(
                code="FX0503", field="scores.bias", message="a second score bias on one attention",
                expected="one: the stack has a score_bias for all of its layers", found=own.kind,
                cure="delete scores.bias here, or score_bias of the stack",
            ))  # fmt: skip
        if shared is not None:
            return shared.read(e, x.axis, n_heads=self.n_heads, causal=causal)
        if own is None:
            return None
        with e.inside("score_bias", x.width):
            return own.expand(e, x.axis, n_heads=self.n_heads, causal=causal)


def _split(e: Expander, h: Value, heads: int, *, dim: int) -> Value:
    return e.permute(e.reshape(h, "=0", "=1", heads, dim), 0, 2, 1, 3)


def _divisors(number: int) -> list[int]:
    """All of them, in order."""
    small = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


def _listed(numbers: list[int]) -> str:
    texts = [str(number) for number in numbers]
    return " or ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
