"""``causal_conv``: ``nn.Conv1d`` holds the parameters; the convolution runs on past ++ the unpadded input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flexit.ir.program import Node, Param
from flexit.lower.torch.code import Code, Ref, module_path

RETURNS_STATE = True
"""The result comes with the new state."""


def module(node: Node) -> nn.Module | None:
    """The module that holds the filter."""
    weight = node.params["weight"]
    if not isinstance(weight, Param) or not module_path(node):
        return None
    channels, _, kernel = weight.shape
    return nn.Conv1d(channels, channels, kernel, groups=channels, bias="bias" in node.params)


def causal_conv(x: Tensor, mask: Tensor, weight: Tensor, *rest: Tensor | None) -> tuple[Tensor, Tensor]:
    """The result, and the last ``kernel - 1`` unpadded inputs of each row."""
    bias, past, document = rest
    kept = weight.shape[-1] - 1
    if document is not None:  # packed rows: in training, which carries nothing on
        return within_documents(x, mask, document, weight, bias), x.new_zeros(x.shape[0], kept, x.shape[2])
    place = places(mask)[:, :, None].expand_as(x)
    packed = torch.zeros_like(x).scatter(1, place, x * mask[:, :, None].to(x.dtype))
    before = x.new_zeros(x.shape[0], kept, x.shape[2]) if past is None else past
    full = torch.cat([before, packed], 1)
    y = F.conv1d(full.transpose(1, 2), weight, bias, groups=weight.shape[0]).transpose(1, 2)
    last = mask.sum(1)[:, None] + torch.arange(kept, device=mask.device)
    return y.gather(1, place), full.gather(1, last[:, :, None].expand(-1, -1, full.shape[2]))


def within_documents(x: Tensor, mask: Tensor, document: Tensor, *rest: Tensor | None) -> Tensor:
    """The filter over the unpadded tokens of each document, tap by tap."""
    weight, bias = rest
    assert isinstance(weight, Tensor)
    own = torch.where(mask != 0, document, torch.iinfo(document.dtype).max)
    order = own.argsort(dim=1, stable=True)  # the tokens of a document side by side, pads at the end
    at = order[:, :, None].expand_as(x)
    packed, own = x.gather(1, at), own.gather(1, order)
    y = torch.zeros_like(x) if bias is None else torch.zeros_like(x) + bias
    for back in range(min(weight.shape[-1], x.shape[1])):
        shifted = F.pad(packed, (0, 0, back, 0))[:, : x.shape[1]]
        same = (F.pad(own, (back, 0), value=-1)[:, : x.shape[1]] == own)[:, :, None].to(x.dtype)
        y = y + weight[:, 0, -1 - back] * shifted * same
    return torch.zeros_like(y).scatter(1, at, y)


def places(mask: Tensor) -> Tensor:
    """Where each slot goes when a row's unpadded slots are moved before the others, in their order."""
    count = mask.cumsum(1)
    slots = torch.arange(mask.shape[1], device=mask.device)
    return torch.where(mask != 0, count - 1, mask.sum(1, keepdim=True) + slots - count)


def lower(node: Node, code: Code, past: Ref) -> Ref:
    """The result and the new state."""
    x, mask, document = (code[value] for value in node.inputs)
    return code.call(causal_conv, x, mask, code.weight(node, "weight"), code.weight(node, "bias"), past, document)
