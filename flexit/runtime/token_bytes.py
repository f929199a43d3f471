"""How many bytes of text each token of a tokenizer stands for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

if TYPE_CHECKING:
    from flexit.runtime.tokenizer import Tokenizer

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""How vocabularies with byte fallback write a byte."""
LETTER = "a"


def bytes_of_tokens(tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """Bytes in UTF-8 of each token where it follows others, by id; special tokens, which no text has, have none.

    A vocabulary of bytes writes each as a character of its own. Of others a token's bytes are those by which the text
    grows when it follows a letter, so that of a vocabulary that keeps all of a text (spaces, case, accents) the tokens
    of a text have its bytes together.
    """
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    special, alphabet = set(tokenizer.specials.values()), set(pre_tokenizers.ByteLevel.alphabet())
    before = next((number for number in range(len(counts)) if tokenizer.decode([number]) == LETTER), None)
    of_bytes = tokenizer.is_of_bytes
    for number in range(len(counts)):
        token = tokenizer.token_of(number)
        if number in special or not token:
            continue
        if of_bytes and set(token) <= alphabet:
            counts[number] = len(token)
        elif BYTE.fullmatch(token):
            counts[number] = 1
        else:
            counts[number] = _grown(tokenizer, before, number)
    return counts


def _grown(tokenizer: Any, before: int | None, number: int) -> int:
    """By how many bytes a token makes a text longer."""
    if before is None:
        return len(tokenizer.decode([number]).encode())
    return len(tokenizer.decode([before, number]).encode()) - len(LETTER)
