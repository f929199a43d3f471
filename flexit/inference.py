"""Decoding by class, as FlexiTransformers had it: ids in, ids out. It is ``flexit.generate`` that runs."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from flexit.class_style import described, refused, require_number
from flexit.models import BaseModel, graph_inputs
from flexit.runtime.generation.generate import generate
from flexit.runtime.generation.sampling import Sampling
from flexit.runtime.modes import evaluating
from flexit.runtime.sessions.torch_session import TorchSession

__all__ = ["greedy_decode", "sample_decode"]


def greedy_decode(  # noqa: PLR0917 (the order of FlexiTransformers)
    model: BaseModel, src: Tensor | None, src_mask: Tensor | None, max_len: int, start_symbol: int,
    end_symbol: int | None = None,
) -> Tensor:  # fmt: skip
    """The most probable token at each step.

    Args:
        model: an encoder-decoder or a decoder.
        src: ``int64 [batch, seq]``: the source of an encoder-decoder; what a decoder goes on from, or None.
        src_mask: its padding, as the model takes it; None: all is seen.
        max_len: most tokens of a row, the start or what is gone on from included.
        start_symbol: first token of a target, or of a decoder that has nothing to go on from.
        end_symbol: token that ends a row, if any; what would come after it in a longer batch is 0.

    Returns:
        ``int64 [batch, at most max_len]``, the start or what was gone on from included.

    Raises:
        UserError: FX2001, an argument cannot be used.
        TaskError: FX2003, the model has no room for ``max_len``.
    """
    return _decode(model, src, src_mask, sampling=None, max_len=max_len, start=start_symbol, end=end_symbol)


def sample_decode(  # noqa: PLR0917 (the order of FlexiTransformers)
    model: BaseModel, src: Tensor | None, src_mask: Tensor | None, max_len: int, start_symbol: int,
    end_symbol: int | None = None, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
) -> Tensor:  # fmt: skip
    """Tokens drawn by their probability, as ``torch.manual_seed`` says; the rest as :func:`greedy_decode`.

    Args:
        model: as there.
        src: as there.
        src_mask: as there.
        max_len: as there.
        start_symbol: as there.
        end_symbol: as there.
        temperature: what scores are divided by.
        top_k: only the most probable ones; None: all.
        top_p: only as many as have this probability together (Holtzman et al. 2020); None: all.

    Raises:
        UserError: FX2001, an argument cannot be used.
        TaskError: FX2003, a number of the sampling is out of range, or the model has no room for ``max_len``.
    """
    seed = int(torch.randint(2**31, ()).item())
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    return _decode(model, src, src_mask, sampling=sampling, max_len=max_len, start=start_symbol, end=end_symbol)


def _decode(
    model: BaseModel, src: Tensor | None, src_mask: Tensor | None, *, sampling: Sampling | None, max_len: int,
    start: int, end: int | None,
) -> Tensor:  # fmt: skip
    if not isinstance(cast("object", model), BaseModel) or model.model_type == "encoder-only":
        raise refused(
            "model", "the model writes no tokens", expected="an encoder-decoder or a decoder of flexit.models",
            found=model.model_type if isinstance(cast("object", model), BaseModel) else described(model),
            cure="use flexit.generate with a session for other models",
        )  # fmt: skip
    prompts, begun, others = _beginning(model, src, src_mask, start=start)
    require_number("max_len", max_len, f"at least {begun.shape[1] + 1}", whole=True, least=begun.shape[1] + 1)
    with evaluating(model):
        made = generate(
            TorchSession(model), prompts, max_new_tokens=max_len - begun.shape[1], eos_id=end, sampling=sampling,
            others=others,
        )  # fmt: skip
    longest = max(map(len, made))
    new = torch.tensor([row + [0] * (longest - len(row)) for row in made], dtype=torch.int64)
    return torch.cat([begun, new.to(begun.device)], 1)


def _beginning(
    model: BaseModel, src: Tensor | None, src_mask: Tensor | None, *, start: int
) -> tuple[list[list[int]], Tensor, dict[str, Tensor]]:
    """Rows to go on from, the same as they are given back, and what the encoder reads."""
    device = next(model.parameters()).device
    if model.model_type == "encoder-decoder":
        begun = torch.full((len(src) if isinstance(src, Tensor) else 1, 1), start, device=device)
        read = graph_inputs(model.model_type, (src, begun, src_mask), {})
        return begun.tolist(), begun, {name: each.cpu() for name, each in read.items() if "decoder" not in name}
    if src is None:
        begun = torch.full((1, 1), start, device=device)
        return begun.tolist(), begun, {}
    read = graph_inputs(model.model_type, (src, src_mask), {})
    shown = read.get("attention_mask", torch.ones_like(src))
    pairs = zip(src.tolist(), shown.tolist(), strict=True)
    return [[token for token, seen in zip(*pair, strict=True) if seen] for pair in pairs], src, {}
