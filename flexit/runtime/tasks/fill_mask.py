"""``fill_mask``: the likeliest tokens for each mask of a text (Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flexit.errors import TaskError
from flexit.runtime.probabilities import probabilities
from flexit.runtime.tasks.text_model import (
    Read,
    Reading,
    Text,
    TextModel,
    logits_of,
    require_text_model,
    require_texts,
    unreadable,
)

MASKS = ("[MASK]", "<mask>", "<|mask|>")
"""What masks are called, by BERT, RoBERTa and ModernBERT-like tokenizers."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A token for a mask.

    Attributes:
        token: as text, its blanks kept.
        id: of the token.
        score: its probability.
    """

    token: str
    id: int
    score: float


def fill_mask(
    model: TextModel, texts: Sequence[Text], how: Reading | None = None, *, top: int = 5, mask: str | None = None,
    output: str | None = None,
) -> list[list[list[Filled]]]:  # fmt: skip
    """For each text, for each of its masks, the likeliest tokens, best first.

    Args:
        model: a session that reads texts.
        texts: texts in which masks are written out, or pairs of them.
        how: batches, truncation, progress.
        top: how many tokens.
        mask: the token that masks; by default the one of ``MASKS`` that the tokenizer has.
        output: name of the output of scores, ``logits`` by default.

    Raises:
        TaskError: FX0801, the model scores no tokens, or reads from left to right; FX2101, a text has no mask, or
            another special token; FX2003, ``top`` is out of its range; and what :meth:`TextModel.read` raises.
    """
    require_text_model(model)
    if isinstance(top, bool) or top < 1:
        raise TaskError.of(
            "FX2003", "top is out of range", path="top", expected="an integer of at least 1", found=str(top),
            cure="say how many tokens are wanted",
        )  # fmt: skip
    name = logits_of(model.session.interface, output, head="masked tokens")
    if model.session.interface.decoded is not None:
        raise TaskError.of(
            "FX0801", "the model reads from left to right, and does not see what follows a mask", path=name,
            expected="attention with mask: full", found="a model that is decoded token by token",
            cure="use flexit generate",
        )  # fmt: skip
    require_texts(texts)
    mask = mask_of(model, mask)
    number = model.tokenizer.id_of(mask)
    _require_masks(model, texts, mask)
    rows: dict[int, list[list[Filled]]] = {}
    for read in model.read(texts, how, specials=True):
        slots = [slot for slot, token in enumerate(read.encoding.ids) if token == number]
        if not slots:
            raise unreadable(
                read.index, f"has lost its {mask} where it was cut", expected=mask, found="none",
                cure="put it nearer to the beginning",
            )  # fmt: skip
        rows[read.index] = [_best(model, read, name, slot=slot, top=top) for slot in slots]
    return [rows[index] for index in range(len(rows))]


def mask_of(model: TextModel, named: str | None) -> str:
    """The token that masks.

    Raises:
        TaskError: FX0801, the tokenizer has none.
    """
    legal = MASKS if named is None else (named,)
    found = next((token for token in legal if token in model.tokenizer.specials), None)
    if found is None:
        raise TaskError.of(
            "FX0801", "the tokenizer has no such mask", path="mask", expected=f"a special token {' or '.join(legal)}",
            found=", ".join(model.tokenizer.specials) or "no special token",
            cure="name the one it was trained with: --mask TOKEN (in Python: mask=...)",
        )  # fmt: skip
    return found


def _require_masks(model: TextModel, texts: Sequence[Text], mask: str) -> None:
    """A mask in each text, and no other special token, which would be taken for what the template adds."""
    others = [token for token in model.tokenizer.specials if token != mask]
    for index, given in enumerate(texts):
        text = given if isinstance(given, str) else "\n".join(given)
        if mask not in text:
            raise unreadable(
                index, f"has no {mask}", expected=mask, found="none", cure=f"write {mask} where a token is wanted"
            )
        strange = next((token for token in others if token in text.replace(mask, "")), None)
        if strange is not None:
            raise unreadable(
                index, "has another special token", expected=f"{mask} and words", found=strange, cure="leave it out"
            )


def _best(model: TextModel, read: Read, name: str, *, slot: int, top: int) -> list[Filled]:
    read.scores(name)
    scores = read.per_token(name)[slot]
    if len(scores) < model.tokenizer.vocab_size:
        raise TaskError.of(
            "FX0801", f"the output {name} scores no tokens", path=name,
            expected=f"{model.tokenizer.vocab_size} scores or more, the tokenizer's vocabulary", found=str(len(scores)),
            cure="name the output of a head of masked tokens: --output NAME (in Python: output=...)",
        )  # fmt: skip
    likely = probabilities(scores)[: model.tokenizer.vocab_size]
    order = np.argsort(-likely, kind="stable")[:top]
    return [
        Filled(model.tokenizer.decode([int(index)]) or model.tokenizer.token_of(int(index)), int(index),
               float(likely[index]))
        for index in order
    ]  # fmt: skip
