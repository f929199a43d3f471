"""Generation, written once for every session: greedy, temperature and top-k, batched with left padding, streamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from flexit.errors import TaskError
from flexit.runtime.sampling import Sampling
from flexit.runtime.session import Array, Session

OnTokens = Callable[[Array], None]


def generate(
    session: Session, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, eos_id: int | None = None,
    pad_id: int = 0, sampling: Sampling | None = None, others: Mapping[str, Array] | None = None,
    on_tokens: OnTokens | None = None,
) -> list[list[int]]:  # fmt: skip
    """Continue prompts token by token.

    Args:
        session: any session whose model can be decoded.
        prompts: token ids per row, at least one each.
        max_new_tokens: most tokens per row.
        eos_id: token that ends a row (and is kept), if any.
        pad_id: token written where a row is padded; its value does not matter to the result.
        sampling: greedy unless given.
        others: further graph inputs by name (the source of an encoder-decoder).
        on_tokens: called with each step's tokens ``int64[batch]``.

    Returns:
        The new tokens of each row.

    Raises:
        TaskError: the model cannot be decoded, or a prompt is empty.
    """
    if not prompts or any(len(prompt) == 0 for prompt in prompts):
        raise TaskError.of(
            "FX2003", "a prompt is empty", path="prompts", expected="at least one token per row", found="none",
            cure="begin with the model's start token",
        )  # fmt: skip
    ids, mask = session.interface.require_decoded()
    if ids.role != "ids":
        raise TaskError.of(
            "FX0801", "the model does not decode tokens", expected="an input of tokens that reaches logits causally",
            found=f"{ids.name}, which carries values", cure="step the session with values of your own", path=ids.name,
        )  # fmt: skip
    if session.interface.beside:
        raise TaskError.of(
            "FX0801", "the model reads more than tokens", expected=f"a model whose new tokens need {ids.name} alone",
            found=f"{session.interface.beside[0]}, of which nobody says what it is for a new token",
            cure="step the session with values of your own", path=session.interface.beside[0],
        )  # fmt: skip
    sampling = sampling or Sampling()
    tokens, valid = padded(prompts, pad_id)
    scores = session.start({ids.name: tokens, mask.name: valid, **(others or {})})
    rows: list[list[int]] = [[] for _ in prompts]
    done = np.zeros(len(prompts), np.bool_)
    for step in range(max_new_tokens):
        chosen = np.where(done, pad_id, sampling.choose(scores, step=step))
        for row, token in enumerate(chosen):
            if not done[row]:
                rows[row].append(int(token))
        if on_tokens is not None:
            on_tokens(chosen)
        done |= (chosen == eos_id) if eos_id is not None else False
        if done.all() or step == max_new_tokens - 1:
            break
        scores = session.step(chosen[:, None])[:, -1]
    return rows


def padded(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Array, Array]:
    """Ids and mask ``int64[batch, longest]``, padded on the left."""
    longest = max(len(prompt) for prompt in prompts)
    tokens = np.full((len(prompts), longest), pad_id, np.int64)
    mask = np.zeros((len(prompts), longest), np.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = prompt
        mask[row, longest - len(prompt) :] = 1
    return tokens, mask
