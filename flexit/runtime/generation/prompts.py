"""What generation begins with, brought into form or refused: prompts, their padding, the number of new tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from flexit.errors import TaskError
from flexit.ir.misfits import unusable, whole_number
from flexit.runtime.sessions.arrays import LARGEST, Array, integers_of
from flexit.runtime.sessions.interface import Entry
from flexit.runtime.sessions.session import Session, require_session


def beginning(
    session: Session, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, pad_id: int,
    others: Mapping[str, Any] | None,
) -> tuple[list[list[int]], dict[str, Any]]:  # fmt: skip
    """The prompts as lists, and the inputs that a session is started with for them.

    Args:
        session: any session.
        prompts: token ids per row.
        max_new_tokens: most tokens per row.
        pad_id: token written where a row is padded.
        others: further graph inputs by name.

    Raises:
        TaskError: FX2003, prompts or number cannot be used, or ``others`` has prompts; FX0801, the model decodes
            something else, or nothing.
        UserError: FX2007, ``others`` or ``pad_id`` is something else.
    """
    require_session(session)
    if others is not None and not isinstance(cast("object", others), Mapping):
        raise unusable("others", others, expected="a mapping of further inputs by name", cure="give {name: array}")
    rows = listed(prompts)
    ids, mask = require_tokens_alone(session)
    whole_number("pad_id", pad_id, low=0, high=(ids.limit or LARGEST + 1) - 1)
    require_count(session, max(map(len, rows)), max_new_tokens)
    twice = [name for name in (ids.name, mask.name) if name in (others or {})]
    if twice:
        raise TaskError.of(
            "FX2003", f"{twice[0]} is what the prompts say", path="others", expected="further inputs of the model",
            found=twice[0], cure=f"leave {twice[0]} out of others, and give the tokens as prompts",
        )  # fmt: skip
    tokens, valid = padded(rows, pad_id)
    return rows, {ids.name: tokens, mask.name: valid, **(others or {})}


def listed(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Prompts as lists of numbers, whatever they came in.

    Raises:
        TaskError: FX2003, there are none, or one is empty.
    """
    given = cast("object", prompts)
    rows = [integers_of(prompt) for prompt in prompts] if isinstance(given, Iterable) else [None]
    if None in rows:
        raise TaskError.of(
            "FX2003", "the prompts are no token ids", path="prompts", expected="a list of ids for each row",
            found=str(given)[:60], cure="encode texts with the model's tokenizer, and give a list of rows",
        )  # fmt: skip
    if not rows or any(row == [] for row in rows):
        raise TaskError.of(
            "FX2003", "a prompt is empty", path="prompts", expected="at least one token per row", found="none",
            cure="begin with the model's start token",
        )  # fmt: skip
    return [row for row in rows if row is not None]


def require_tokens_alone(session: Session) -> tuple[Entry, Entry]:
    """The decoded ids and their mask.

    Raises:
        TaskError: FX0801, the model decodes something else, or needs more than tokens.
    """
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
    return ids, mask


def require_count(session: Session, longest: int, new: int) -> None:
    """Refuse a number of new tokens that is none, or for which the model has no positions.

    Raises:
        TaskError: FX2003.
    """
    if not isinstance(cast("object", new), int | np.integer) or isinstance(new, bool) or new < 1:
        raise TaskError.of(
            "FX2003", "max_new_tokens is out of range", path="max_new_tokens", expected="an integer of at least 1",
            found=str(new), cure="say how many tokens a row may get",
        )  # fmt: skip
    limit = session.interface.position_limit
    if limit is not None and longest + new - 1 > limit:  # the last token is not read
        raise TaskError.of(
            "FX2003", "the text would be longer than the model has positions", path="max_new_tokens",
            expected=f"at most {limit + 1} tokens, for {limit} positions and one token that is not read again",
            found=f"{longest} of the prompt and {new} new ones",
            cure=f"give at most {limit + 1 - longest}" if longest <= limit else "shorten the prompt",
        )  # fmt: skip


def require_finite(scores: Array, done: Array, step: int) -> None:
    """Scores of rows that go on are numbers; -inf is a token that cannot be."""
    bad = ~done & ~np.isfinite(scores.max(axis=-1))
    if bad.any():
        raise TaskError.of(
            "FX2005", "the model's scores are no numbers", path="logits", expected="numbers",
            found=f"NaN or infinity for row {int(np.flatnonzero(bad)[0])}, new token {step + 1}",
            cure="look for weights that are not finite, or so large that fp32 overflows",
        )  # fmt: skip


def padded(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Array, Array]:
    """Ids and mask ``int64[batch, longest]``, padded on the left."""
    longest = max(len(prompt) for prompt in prompts)
    tokens = np.full((len(prompts), longest), pad_id, np.int64)
    mask = np.zeros((len(prompts), longest), np.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = prompt
        mask[row, longest - len(prompt) :] = 1
    return tokens, mask


def eos_ids(given: int | Sequence[int] | None, vocab: int | None = None) -> frozenset[int]:
    """The tokens that end a row.

    Args:
        given: one, several or none.
        vocab: how many tokens the model has scores for, where it is known.

    Raises:
        TaskError: FX2003, they are no ids of the model.
    """
    if given is None:
        return frozenset()
    found = integers_of([given] if isinstance(given, int | np.integer) and not isinstance(given, bool) else given)
    if found is None or any(id_ < 0 or (vocab is not None and id_ >= vocab) for id_ in found):
        raise TaskError.of(
            "FX2003", "eos_id is no token of the model", path="eos_id",
            expected=f"an id from 0 to {vocab - 1}, or a list of such" if vocab else "an id, or a list of ids",
            found=str(given)[:60], cure="give the id that the tokenizer has for it, or leave eos_id out",
        )  # fmt: skip
    return frozenset(found)


def seen_tokens(rows: Sequence[Sequence[int]], vocab: int) -> Array:
    """Which tokens each row has, ``bool[rows, vocab]``."""
    seen = np.zeros((len(rows), vocab), np.bool_)
    for row, tokens in enumerate(rows):
        seen[row, [token for token in tokens if token < vocab]] = True
    return seen
