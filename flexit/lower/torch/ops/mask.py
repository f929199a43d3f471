"""``mask`` as a bool tensor; where no token is padding, as nothing or :class:`Seen`, which fast kernels know."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import torch
from torch import Tensor

from flexit.ir.ops.mask import Mask
from flexit.ir.program import Node, Value
from flexit.lower.torch.code import Code, Ref


class Seen(Enum):
    """What a mask says that needs no tensor."""

    CAUSAL = "causal"


def tensor_of(mask: Tensor | Seen | None, q: Tensor, k: Tensor) -> Tensor | None:
    """The mask as a bool tensor, if there is one.

    Args:
        mask: what :func:`lower` made.
        q: ``[batch, heads, S, head_dim]``.
        k: ``[batch, heads, S, head_dim]``, of as many tokens where the mask is no tensor.
    """
    if not isinstance(mask, Seen):
        return mask
    return torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()


def whole(mask: Tensor | None, ids: Tensor) -> Tensor:
    """The mask, or else ones over all tokens: ``i64[batch, seq]``."""
    return torch.ones(ids.shape[:2], dtype=torch.int64, device=ids.device) if mask is None else mask


def write_left_out(masks: Mapping[Value, Value], code: Code) -> None:
    """Print what stands for masks that are inputs and None, and note when they are."""
    for mask, ids in masks.items():
        given = code[mask]
        code.unpadded[mask] = code.assign(f"{given} is None")
        code.values[mask] = code.assign(code.call(whole, given, code[ids]))


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


def first(k_rank: Tensor, count: int) -> Tensor:
    """The row's first unpadded keys."""
    return k_rank[:, None, None, :] < count


def with_prefix(visible: Tensor, lengths: Tensor | None, *ranks: Tensor) -> Tensor:
    """``visible``, or both (the ranks are those of q and k) among the row's first tokens."""
    if lengths is None:
        return visible
    q_rank, k_rank = ranks
    ends = lengths[:, None, None, None]
    return visible | (q_rank[:, None, :, None] < ends) & (k_rank[:, None, None, :] < ends)


def same_document(visible: Tensor, q_document: Tensor | None, k_document: Tensor | None) -> Tensor:
    """``visible`` within documents, where both sides say theirs."""
    if q_document is None or k_document is None:
        return visible
    return visible & (q_document[:, None, :, None] == k_document[:, None, None, :])


NEAR = {"window": window, "window_both": window_both, "chunk": chunk}


def lower(node: Node, code: Code) -> Ref:
    """All pieces joined."""
    op, keys = node.op, node.inputs[0]
    assert isinstance(op, Mask) and keys is not None
    if keys not in code.unpadded or any(piece.kind != "causal" for piece in op.pieces):
        return joined(node, code)
    known = [code.unpadded[keys], *(f"{code[value]} is None" for value in node.inputs[3:5] if value is not None)]
    simple = code.name(Seen.CAUSAL, "n") if op.pieces else "None"
    visible = code.fresh()
    code.lines.append(f"if {' and '.join(known)}: {visible} = {simple}")
    with code.inside("else"):
        code.lines.append(f"{visible} = {joined(node, code)}")
    return visible


def joined(node: Node, code: Code) -> Ref:
    """All pieces joined in a bool tensor."""
    op = node.op
    assert isinstance(op, Mask)
    key_mask, q_rank, k_rank, lengths, q_document, k_document = (code[value] for value in node.inputs)
    near = [code.call(NEAR[piece.kind], q_rank, k_rank, piece.size) for piece in op.pieces if piece.kind in NEAR]
    met: list[str] = []
    if near:
        inside = " & ".join(near)
        met.append(f"({inside} | {code.call(first, k_rank, op.keep_first)})" if op.keep_first else f"({inside})")
    if any(piece.kind == "causal" for piece in op.pieces):
        met.append(code.call(causal, key_mask, q_rank))
    visible = code.assign(code.call(padding, key_mask))
    if met:
        pieces = code.assign(" & ".join(met))
        if node.inputs[3] is not None:
            pieces = code.assign(code.call(with_prefix, pieces, lengths, q_rank, k_rank))
        visible = code.assign(f"{visible} & {pieces}")
    if node.inputs[4] is not None:
        visible = code.assign(code.call(same_document, visible, q_document, k_document))
    return visible
