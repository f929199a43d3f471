"""The two benchmark models as one would write them by hand for this one purpose: no padding, no cache, no options.

Parameter names are those of the specs, so that both sides train the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Scope(nn.Module):
    """Names submodules."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class GptLayer(nn.Module):
    """Norm, attention, norm, feed-forward; biases everywhere."""

    def __init__(self, width: int, heads: int, d_ff: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_input_norm = nn.LayerNorm(width)
        self.attention = Scope(**{f"{name}_proj": nn.Linear(width, width) for name in "qkvo"})
        self.feed_forward_input_norm = nn.LayerNorm(width)
        self.feed_forward = Scope(up_proj=nn.Linear(width, d_ff), down_proj=nn.Linear(d_ff, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        h = self.attention_input_norm(x)
        own = self.attention
        q, k, v = (
            proj(h).view(batch, length, self.heads, -1).transpose(1, 2) for proj in (own.q_proj, own.k_proj, own.v_proj)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + own.o_proj(y.transpose(1, 2).reshape(batch, length, width))
        h = self.feed_forward_input_norm(x)
        return x + self.feed_forward.down_proj(F.gelu(self.feed_forward.up_proj(h), approximate="tanh"))


class Gpt(nn.Module):
    """Learned positions, pre-norm layers, tied head."""

    def __init__(self, *, vocab: int, width: int, layers: int, heads: int, d_ff: int, max_len: int) -> None:
        super().__init__()
        self.embed = Scope(tokens=nn.Embedding(vocab, width), positions=nn.Embedding(max_len, width))
        self.decoder = Scope(
            layers=nn.ModuleList(GptLayer(width, heads, d_ff) for _ in range(layers)), final_norm=nn.LayerNorm(width)
        )

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed.tokens(input_ids) + self.embed.positions.weight[: input_ids.shape[1]]
        for layer in self.decoder.layers:
            x = layer(x)
        return F.linear(self.decoder.final_norm(x), self.embed.tokens.weight)


class LlamaLayer(nn.Module):
    """RMS norms, grouped heads with rotation, gated feed-forward; no biases."""

    def __init__(self, width: int, heads: tuple[int, int], d_ff: int) -> None:
        super().__init__()
        self.heads, self.groups = heads
        shared = width // self.heads * self.groups
        self.attention_input_norm = nn.RMSNorm(width, 1e-6)
        self.attention = Scope(
            q_proj=nn.Linear(width, width, bias=False), k_proj=nn.Linear(width, shared, bias=False),
            v_proj=nn.Linear(width, shared, bias=False), o_proj=nn.Linear(width, width, bias=False),
        )  # fmt: skip
        self.feed_forward_input_norm = nn.RMSNorm(width, 1e-6)
        self.feed_forward = Scope(
            gate_proj=nn.Linear(width, d_ff, bias=False), up_proj=nn.Linear(width, d_ff, bias=False),
            down_proj=nn.Linear(d_ff, width, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        h = self.attention_input_norm(x)
        own, split = self.attention, (batch, length, -1, width // self.heads)
        q, k, v = (proj(h).view(split).transpose(1, 2) for proj in (own.q_proj, own.k_proj, own.v_proj))
        y = F.scaled_dot_product_attention(
            rotated(q, cos, sin), rotated(k, cos, sin), v, is_causal=True, enable_gqa=self.groups != self.heads
        )
        x = x + own.o_proj(y.transpose(1, 2).reshape(batch, length, width))
        h = self.feed_forward_input_norm(x)
        mlp = self.feed_forward
        return x + mlp.down_proj(F.silu(mlp.gate_proj(h)) * mlp.up_proj(h))


class Llama(nn.Module):
    """Rotary positions, pre-norm layers, tied head."""

    def __init__(self, *, vocab: int, width: int, layers: int, heads: tuple[int, int], d_ff: int) -> None:
        super().__init__()
        self.embed = Scope(tokens=nn.Embedding(vocab, width))
        self.decoder = Scope(
            layers=nn.ModuleList(LlamaLayer(width, heads, d_ff) for _ in range(layers)),
            final_norm=nn.RMSNorm(width, 1e-6),
        )
        self.head_dim = width // heads[0]

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed.tokens(input_ids)
        pairs = torch.arange(0, self.head_dim, 2, dtype=torch.float32) / self.head_dim
        angles = torch.arange(input_ids.shape[1], dtype=torch.float32)[:, None] * 10000.0**-pairs
        cos, sin = angles.cos(), angles.sin()
        for layer in self.decoder.layers:
            x = layer(x, cos, sin)
        return F.linear(self.decoder.final_norm(x), self.embed.tokens.weight)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (i, i + half) of all channels turned."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
