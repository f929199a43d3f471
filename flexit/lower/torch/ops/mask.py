"""``mask`` as a bool tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from flexit.ir.ops.mask import Mask
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def padding(key_mask: Tensor) -> Tensor:
    """``[batch, 1, 1, keys]``: keys that are no padding."""
    return key_mask[:, None, None, :].to(torch.bool)


def causal(key_mask: Tensor, q_rank: Tensor) -> Tensor:
    """Keys whose slot is not after the query's; the queries are the last slots."""
    slots = torch.arange(key_mask.shape[1], device=key_mask.device)
    return slots[None, :] <= slots[key_mask.shape[1] - q_rank.shape[1] :][:, None]


def window(q_rank: Tensor, k_rank: Tensor, size: int) -> Tensor:
    """K > q - size."""
    return q_rank[:, None, :, None] - k_rank[:, None, None, :] < size


def window_both(q_rank: Tensor, k_rank: Tensor, size: int) -> Tensor:
    """|q - k| <= size."""
    return (q_rank[:, None, :, None] - k_rank[:, None, None, :]).abs() <= size


def chunk(q_rank: Tensor, k_rank: Tensor, size: int) -> Tensor:
    """Q // size = k // size."""
    return q_rank[:, None, :, None] // size == k_rank[:, None, None, :] // size


def same(q_document: Tensor, k_document: Tensor) -> Tensor:
    """Both in one document."""
    return q_document[:, None, :, None] == k_document[:, None, None, :]


def first(k_rank: Tensor, count: int) -> Tensor:
    """The row's first unpadded keys."""
    return k_rank[:, None, None, :] < count


def lower(node: Node, code: Code) -> Ref:
    """All pieces joined."""
    op = node.op
    assert isinstance(op, Mask)
    key_mask, q_rank, k_rank, q_document, k_document = (code[value] for value in node.inputs)
    visible = code.assign(code.call(padding, key_mask))
    near: list[Ref] = []
    for piece in op.pieces:
        if piece.kind == "causal":
            visible = code.assign(f"{visible} & {code.call(causal, key_mask, q_rank)}")
        elif piece.kind == "document":
            visible = code.assign(f"{visible} & {code.call(same, q_document, k_document)}")
        else:
            function = {"window": window, "window_both": window_both, "chunk": chunk}[piece.kind]
            near.append(code.call(function, q_rank, k_rank, piece.size))
    if near:
        inside = code.assign(" & ".join(near))
        if op.keep_first:
            inside = code.assign(f"{inside} | {code.call(first, k_rank, op.keep_first)}")
        visible = code.assign(f"{visible} & {inside}")
    return visible
