"""``attention`` through ``scaled_dot_product_attention``; written out where that cannot say it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flexit.ir.ops.attention import Attention
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref
from flexit.lower.torch.ops.mask import Seen, tensor_of

Given = Tensor | Seen | float | None
SHORT = 128
"""Tokens of rows whose backward is slow in narrow floats on a CPU."""


def sdpa(q: Tensor, k: Tensor, v: Tensor, *rest: Given) -> Tensor:
    """The stock function; a bias and a bool mask are joined into one float mask."""
    given, bias, scale, groups, dropout = rest
    assert isinstance(scale, float) and isinstance(dropout, float) and isinstance(groups, int)
    assert not isinstance(given, float | int)
    if _is_slow_backward(q, k):
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else q.dtype
        with torch.autocast("cpu", enabled=False):
            wide = bias.float() if isinstance(bias, Tensor) else bias
            return sdpa(q.float(), k.float(), v.float(), given, wide, *rest[2:]).to(dtype)
    shared = {"dropout_p": dropout, "scale": scale, "enable_gqa": groups != 1}
    if isinstance(bias, Tensor):
        mask = tensor_of(given, q, k)
        given = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
    if given is Seen.CAUSAL:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, **shared)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=tensor_of(given, q, k), **shared)


def _is_slow_backward(q: Tensor, k: Tensor) -> bool:
    """Whether the backward of the stock function takes longer than it does in fp32: on a CPU, with narrow floats and
    short rows (PyTorch 2.13: 16 times as long at 12 tokens, as long at 256).
    """
    learns = torch.is_grad_enabled() and q.requires_grad and not torch.compiler.is_exporting()
    if not learns or q.device.type != "cpu":
        return False
    narrow = q.dtype.itemsize < 4 or (q.dtype == torch.float32 and torch.is_autocast_enabled("cpu"))
    return narrow and q.shape[-2] <= SHORT and k.shape[-2] <= SHORT


def written_out(q: Tensor, k: Tensor, v: Tensor, *rest: Given) -> Tensor:
    """Softcap, sinks and value tables; the order of the op."""
    given, bias, sinks, table, inner, scale, softcap, groups, dropout, keyless = rest
    assert isinstance(scale, float) and isinstance(dropout, float) and isinstance(groups, int)
    assert not isinstance(given, float | int)
    mask = tensor_of(given, q, k)
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) * scale
    if isinstance(inner, Tensor):
        scores = scores + inner
    if isinstance(softcap, float):
        scores = torch.tanh(scores / softcap) * softcap
    if isinstance(bias, Tensor):
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    if isinstance(sinks, Tensor):
        column = sinks[None, :, None, None].expand(*scores.shape[:3], 1)
        weights = torch.softmax(torch.cat([scores, column], -1), -1)[..., :-1]
    else:
        weights = torch.softmax(scores, -1)
        if keyless and mask is not None:
            weights = weights.masked_fill(~mask, 0.0)
    weights = F.dropout(weights, dropout, training=dropout > 0)
    y = weights @ v
    if isinstance(table, Tensor):
        y = y + (weights.unsqueeze(-2) @ table).squeeze(-2)
    return y


def _queries_per_key(node: Node) -> int:
    """Query heads that share a key head; known from the types, whatever dims an export leaves open."""
    q, k = node.inputs[0], node.inputs[1]
    assert q is not None and k is not None
    heads, groups = q.dims[1], k.dims[1]
    assert isinstance(heads, int) and isinstance(groups, int)
    return heads // groups


def lower(node: Node, code: Code) -> Ref:
    """Attention over heads."""
    op = node.op
    assert isinstance(op, Attention)
    q, k, v, mask, bias, sinks, table, inner = (code[value] for value in node.inputs)
    dropout = Ref(f"({op.dropout!r} if self.training else 0.0)") if op.dropout else 0.0
    groups = _queries_per_key(node)
    if op.softcap is None and all(value is None for value in node.inputs[5:]):
        return code.call(sdpa, q, k, v, mask, bias, op.scale, groups, dropout)
    return code.call(
        written_out, q, k, v, mask, bias, sinks, table, inner, op.scale, op.softcap, groups, dropout, op.keyless
    )  # fmt: skip
