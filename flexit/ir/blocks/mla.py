"""``mla``: latent attention, whose keys and values are maps of one narrow vector per token (DeepSeek-V2, 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from pydantic import Field

from flexit.ir.attention.checks import check_prefix
from flexit.ir.attention.projections import joined, split
from flexit.ir.attention.scores import Scores
from flexit.ir.block import Block, Fault, Inferred, Mixer, Norm, Surroundings
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import PositiveInt, Probability, choose
from flexit.ir.language.masks import Mask
from flexit.ir.language.rotary import Rotary, Rotation
from flexit.ir.program import Value
from flexit.ir.score_bias.base import Terms


def _rms_norm() -> Norm:
    return cast(Norm, choose(Norm, "rms_norm"))


class Mla(Mixer, kind="mla"):
    """Latent attention: queries, keys and values come from low-rank vectors, and separate channels are rotated.

    Each head has ``qk_nope_head_dim`` channels of its own and ``qk_rope_head_dim`` that turn; the turned part of the
    keys is one for all heads. Decoding keeps keys and values of every head, or in the compact form the latent and the
    turned channels alone: then queries are mapped into the latent, which is key and value at once.
    """

    formula = (
        "c = norm(W_dkv x),  [k, v] = W_ukv c per head,  k^R = rot(W_kr x) for all heads;  [q, q^R] = W_uq norm(W_dq "
        "x);  y = W_o softmax(s ([q, rot(q^R)] . [k, k^R])) v"
    )
    source = "DeepSeek-AI 2024 (DeepSeek-V2), arXiv 2405.04434, section 2.1"
    also_called: ClassVar[Mapping[str, str]] = {"latent_attention": "", "multi_head_latent_attention": ""}
    examples = (
        {
            "kind": "mla", "n_heads": 2, "kv_lora_rank": 6, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4,
            "v_head_dim": 5, "rotary": {}, "mask": "causal", "dropout": 0.1,
        },
        {
            "kind": "mla", "n_heads": 4, "q_lora_rank": 7, "kv_lora_rank": 6, "qk_nope_head_dim": 3,
            "qk_rope_head_dim": 4, "v_head_dim": 4, "mask": {"kind": "causal", "window": 3}, "bias": True,
            "rotary": {"theta": 100.0, "style": "interleaved", "scaling": {
                "kind": "yarn", "factor": 4.0, "original_max_len": 256, "mscale": 1.0, "mscale_all_dim": 0.7,
            }},
            "norm": {"kind": "rms_norm", "eps": 1e-5},
        },
        {
            "kind": "mla", "n_heads": 2, "kv_lora_rank": 6, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4,
            "v_head_dim": 5, "mask": "causal", "scores": {"scale": 0.4, "sinks": "learned", "softcap": 4.0},
            "rotary": {"scaling": {"kind": "dynamic", "factor": 2.0, "original_max_len": 12}},
        },
        {
            "kind": "mla", "n_heads": 2, "q_lora_rank": 6, "kv_lora_rank": 6, "qk_nope_head_dim": 4,
            "qk_rope_head_dim": 2, "v_head_dim": 5, "rotary": {}, "mask": "full", "norm": "layer_norm",
        },
    )  # fmt: skip

    n_heads: PositiveInt
    """Heads."""
    q_lora_rank: PositiveInt | None = None
    """Width of the latent that queries come from; null: one full query projection."""
    kv_lora_rank: PositiveInt
    """Width of the latent that keys and values come from."""
    qk_nope_head_dim: PositiveInt
    """Channels of a query or key head that do not turn."""
    qk_rope_head_dim: PositiveInt
    """Channels that turn; those of the keys are one for all heads."""
    v_head_dim: PositiveInt
    """Channels of a value head."""
    norm: Norm = Field(default_factory=_rms_norm)
    """On both latents."""
    rotary: Rotary
    """Rotation of the qk_rope_head_dim channels; its dim is not allowed."""
    mask: Mask
    """Which keys a query sees."""
    bias: bool = False
    """On q_a_proj, kv_a_proj and o_proj."""
    scores: Scores = Field(default_factory=Scores)
    """Scale, softcap, sinks and temperature, without bias. The scale rsqrt_head_dim is that of nope and rope channels
    together, times m(mscale_all_dim)^2 where a yarn scaling writes that; a number is used as it stands.
    """
    dropout: Probability = 0.0
    """On the attention weights."""

    def spans(self) -> Iterator[tuple[str, int]]:
        yield from ((f"mask.{field}", size) for field, size in self.mask.spans())

    @property
    def reads_prefix(self) -> bool:
        return self.mask.reads_prefix

    @property
    def why_not_packed(self) -> str:
        turned = self.rotary.why_not_packed
        return turned or super().why_not_packed

    @property
    def orders(self) -> bool:
        return True

    @property
    def counts_layers(self) -> bool:
        return self.scores.inverse_layer_scale

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        return (self.norm, path[1:]) if path[0] in ("q_a_norm", "kv_a_norm") else super().child(path)

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        yield from check_prefix(self.mask, ports["x"])

    def check(self) -> Iterator[Fault]:
        yield from (replace(fault, field=f"mask.{fault.field}") for fault in self.mask.check())
        yield from (replace(fault, field=f"rotary.{fault.field}") for fault in self.rotary.check())
        if self.rotary.dim is not None:
            yield Fault(
                code="FX0501", field="rotary.dim", message="is not chosen here",
                expected="none: all qk_rope_head_dim channels turn, and no others", found=str(self.rotary.dim),
                cure="delete rotary.dim; qk_rope_head_dim says it",
            )  # fmt: skip
        if self.scores.bias is not None:
            yield Fault(
                code="FX0501", field="scores.bias", message="is not read here",
                expected="null: the rotated channels tell the distance", found=self.scores.bias.kind,
                cure="delete scores.bias",
            )  # fmt: skip
        if self.qk_rope_head_dim % 2:
            yield Fault(
                code="FX0405", field="qk_rope_head_dim", message="odd number of rotated channels",
                expected="an even number, since rotary turns channels in pairs", found=str(self.qk_rope_head_dim),
                cure=f"set qk_rope_head_dim to {self.qk_rope_head_dim + 1}",
            )  # fmt: skip
        elif self.rotary.dim is None:
            for fault in self.rotary.check_scaling(self.qk_rope_head_dim):
                expected, cure = (
                    text.replace("rotary.dim", "qk_rope_head_dim") for text in (fault.expected, fault.cure)
                )
                yield replace(fault, expected=expected, cure=cure)

    def inferred(self, around: Surroundings) -> Iterator[Inferred]:
        del around
        yield Inferred("rotary.dim", self.qk_rope_head_dim, "= qk_rope_head_dim")

    # ---- ops

    @property
    def _scale(self) -> float:
        scale = self.scores.factor(self.qk_nope_head_dim + self.qk_rope_head_dim)
        scaling = self.rotary.scaling
        return scale * scaling.score_factor if scaling is not None and self.scores.scale == "rsqrt_head_dim" else scale

    def expand(self, e: Expander, x: Sequence) -> Sequence:
        causal = self.mask.is_cached
        rotation = self.rotary.rotation(e, x.axis, self.qk_rope_head_dim, causal=causal)
        q_nope, q_rope = e.split(self._queries(e, x), (self.qk_nope_head_dim, self.qk_rope_head_dim))
        q_rope = rotation.turned(e, q_rope)
        latent, rope = e.split(
            e.linear(x.x, self.kv_lora_rank + self.qk_rope_head_dim, "kv_a_proj", bias=self.bias),
            (self.kv_lora_rank, self.qk_rope_head_dim),
        )
        latent = self.norm.apply(e, latent, "kv_a_norm")
        rope = e.reshape(rope, "=0", 1, "=1", self.qk_rope_head_dim)
        rope = rope if rotation.keys is not None else rotation.turned(e, rope)
        mix = self._in_latent if causal and e.compacts(x.axis) else self._by_head
        y = mix(e, x, (q_nope, q_rope), latent=latent, rope=rope, rotation=rotation)
        return x.of(e.linear(joined(e, y), x.width, "o_proj", bias=self.bias, role="residual_projection"))

    def _queries(self, e: Expander, x: Sequence) -> Value:
        """``[batch, n_heads, seq, nope + rope]``."""
        head_dim = self.qk_nope_head_dim + self.qk_rope_head_dim
        rows, name = x.x, "q_proj"
        if self.q_lora_rank is not None:
            rows, name = e.linear(x.x, self.q_lora_rank, "q_a_proj", bias=self.bias), "q_b_proj"
            rows = self.norm.apply(e, rows, "q_a_norm")
        q = e.linear(rows, self.n_heads * head_dim, name, role="query_projection", head_dim=head_dim)
        return split(e, q, self.n_heads)

    def _by_head(
        self, e: Expander, x: Sequence, queries: tuple[Value, Value], *, latent: Value, rope: Value, rotation: Rotation
    ) -> Value:  # fmt: skip
        """Keys and values of every head, ``[batch, n_heads, seq, v_head_dim]`` mixed; the turned channels go first."""
        nope, width = self.qk_nope_head_dim, self.qk_nope_head_dim + self.v_head_dim
        both = split(e, e.linear(latent, self.n_heads * width, "kv_b_proj"), self.n_heads)
        k, v = e.split(both, (nope, self.v_head_dim))
        k = e.concat([e.repeat(rope, 1, self.n_heads), k], -1)
        if self.mask.is_cached:
            k, v = e.append(k, x.axis, "key", dim=2), e.append(v, x.axis, "value", dim=2)
        k = k if rotation.keys is None else rotation.turned(e, k, rotation.keys)
        return self._mixed(e, x, queries[1], queries[0], k=k, v=v)

    def _in_latent(
        self, e: Expander, x: Sequence, queries: tuple[Value, Value], *, latent: Value, rope: Value, rotation: Rotation
    ) -> Value:  # fmt: skip
        """The same with one key head, the turned channels and the latent, which is the value too: what maps the latent
        to keys and values is moved to the queries and to what is mixed.
        """
        nope, rank, turning = self.qk_nope_head_dim, self.kv_lora_rank, self.qk_rope_head_dim
        width = nope + self.v_head_dim
        weight = e.parameter("kv_b_proj.weight", (self.n_heads * width, rank), "projection")
        weight = e.reshape(weight, self.n_heads, width, rank)
        to_key = e.slice(weight, 1, start=0, stop=nope)
        to_value = e.slice(weight, 1, start=nope, stop=width)
        k = e.concat([rope, e.reshape(latent, "=0", 1, "=1", rank)], -1)
        k = e.append(k, x.axis, "latent", dim=2)
        v = e.slice(k, -1, start=turning, stop=turning + rank)
        k = k if rotation.keys is None else rotation.turned(e, k, rotation.keys)
        y = self._mixed(e, x, queries[1], e.matmul(queries[0], to_key), k=k, v=v)
        return e.matmul(y, e.permute(to_value, 0, 2, 1))

    def _mixed(self, e: Expander, x: Sequence, *parts: Value, k: Value, v: Value) -> Value:
        """Values weighted by softmax of the scores of the joined query parts."""
        q = self.scores.tempered(e, e.concat(parts, -1), x.axis)
        return self.scores.mixed(
            e, q=q, k=k, v=v, mask=self.mask.expand(e, x.axis), causal=self.mask.is_cached, dropout=self.dropout,
            terms=Terms(), scale=self._scale, by_layer=self.scores.by_layer(e, self),
        )  # fmt: skip
