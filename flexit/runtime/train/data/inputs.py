"""How a model is given rows of tokens: the names of its inputs, and the tokens that fill, begin and end rows."""

from __future__ import annotations

from dataclasses import dataclass

from flexit.errors import UserError
from flexit.runtime.tokenizer import Tokenizer

PADS = ("[PAD]", "<pad>", "<|pad|>")
"""Tokens that fill rows, as tokenizers call them."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The names of a model's inputs for one text, and the token that fills its rows.

    Attributes:
        ids, mask: names.
        types: name of the token types, or None where the model has none.
        pad: token id that fills rows; it is masked.
    """

    ids: str
    mask: str
    types: str | None
    pad: int


def pad_of(tokenizer: Tokenizer) -> int:
    """What fills rows: the tokenizer's own token for it, else its separator, else 0."""
    known = [number for name in PADS if (number := tokenizer.id_of(name)) is not None]
    return known[0] if known else tokenizer.separator_id or 0


def end_and_start(tokenizer: Tokenizer) -> tuple[int, int]:
    """The tokens that end and begin a target: the separator, and what fills rows.

    Raises:
        UserError: FX1604, the tokenizer has no separator.
    """
    if tokenizer.separator_id is None:
        raise UserError.of(
            "FX1604", "the tokenizer has no separator", path="data.tokenizer", expected="a token that ends each text",
            found="none", cure="write separator: with one of its tokens, such as </s>",
        )  # fmt: skip
    return tokenizer.separator_id, pad_of(tokenizer)
