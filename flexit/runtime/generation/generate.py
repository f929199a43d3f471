"""Generation, written once for every session: greedy or drawn, batched with left padding, streamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from flexit.ir.misfits import unusable
from flexit.runtime.generation.prompts import beginning, eos_ids, require_finite, require_tokens_alone, seen_tokens
from flexit.runtime.generation.sampling import Sampling
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.sessions.session import Session

OnTokens = Callable[[Array], None]
Ends = Callable[[int, Sequence[int]], bool]
"""Of a row and its new tokens: whether they end it."""


def generate(
    session: Session, prompts: Sequence[Sequence[int]], *, max_new_tokens: int,
    eos_id: int | Sequence[int] | None = None, pad_id: int = 0, sampling: Sampling | None = None,
    others: Mapping[str, Any] | None = None, on_tokens: OnTokens | None = None, ends: Ends | None = None,
) -> list[list[int]]:  # fmt: skip
    """Continue prompts token by token.

    Args:
        session: any session whose model can be decoded.
        prompts: token ids per row, at least one each.
        max_new_tokens: most tokens per row.
        eos_id: token, or tokens, that end a row (and are kept), if any.
        pad_id: token written where a row is padded; its value does not matter to the result.
        sampling: greedy unless given.
        others: further graph inputs by name (the source of an encoder-decoder).
        on_tokens: called with each step's tokens ``int64[batch]``.
        ends: called with a row and its new tokens after each of them; true ends the row, such as a stop string does.

    Returns:
        The new tokens of each row.

    Raises:
        TaskError: the model cannot be decoded (FX0801); a prompt is empty, or there is no room or no number of new
            tokens (FX2003); an id or another input is not one of the model (FX2001); scores are not finite (FX2005).
    """
    rows, inputs = beginning(session, prompts, max_new_tokens=max_new_tokens, pad_id=pad_id, others=others)
    if sampling is not None and not isinstance(cast("object", sampling), Sampling):
        raise unusable("sampling", sampling, expected="a flexit.Sampling", cure="write Sampling(temperature=0.8)")
    sampling, last_ids = sampling or Sampling(), eos_ids(eos_id, require_tokens_alone(session)[0].limit)
    scores = session.start(inputs)
    seen = None if sampling.repetition_penalty == 1 else seen_tokens(rows, scores.shape[-1])
    made: list[list[int]] = [[] for _ in rows]
    done = np.zeros(len(rows), np.bool_)
    for step in range(max_new_tokens):
        require_finite(scores, done, step)
        chosen = np.where(done, pad_id, sampling.choose(scores, step=step, seen=seen))
        going = np.flatnonzero(~done)
        for row in going:
            made[row].append(int(chosen[row]))
        if seen is not None:
            seen[going, chosen[going]] = True
        if on_tokens is not None:
            on_tokens(chosen)
        for row in going:
            done[row] = int(chosen[row]) in last_ids or (ends is not None and ends(int(row), made[row]))
        if done.all() or step == max_new_tokens - 1:
            break
        scores = session.step(chosen[:, None])[:, -1]
    return made
