"""Byte-level byte-pair encoding as its paper has it (Sennrich et al. 2016, on bytes), in plain Python and unhurried."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

LETTERS, NUMBERS = "L", "N"


def alphabet() -> dict[int, str]:
    """How a byte is written: as itself where Latin-1 shows it, else as one of the characters from 256."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {**{byte: chr(byte) for byte in shown}, **{byte: chr(256 + place) for place, byte in enumerate(hidden)}}


def kind(char: str) -> str:
    """A letter, a number, a space, or something else."""
    category = unicodedata.category(char)[0]
    if category in (LETTERS, NUMBERS):
        return category
    return " " if char.isspace() and char not in "\x1c\x1d\x1e\x1f" else "?"


def words(text: str) -> list[str]:
    """Words as GPT-2 splits them: contractions, runs of letters, numbers or others with one space before, spaces."""
    found, at = [], 0
    while at < len(text):
        end = contraction(text, at) or run(text, at) or spaces(text, at)
        found.append(text[at:end])
        at = end
    return found


def contraction(text: str, at: int) -> int:
    return next(
        (at + len(each) for each in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d") if text.startswith(each, at)), 0
    )


def run(text: str, at: int) -> int:
    begin = at + 1 if text[at] == " " and at + 1 < len(text) else at
    if kind(text[begin]) == " ":
        return 0
    end = begin
    while end < len(text) and kind(text[end]) == kind(text[begin]):
        end += 1
    return end


def spaces(text: str, at: int) -> int:
    end = at
    while end < len(text) and kind(text[end]) == " ":
        end += 1
    return end - 1 if end < len(text) and end - at > 1 else end


def digits_apart(text: str) -> list[str]:
    """Words as GPT-2 splits them, after each number has been set apart."""
    found, begin = [], 0
    for at, char in enumerate(text):
        if kind(char) == NUMBERS:
            found += [*words(text[begin:at]), char]
            begin = at + 1
    return found + words(text[begin:])


def encoder(
    ids: dict[str, int], merges: Sequence[tuple[str, str]], split: Callable[[str], list[str]]
) -> Callable[[str], list[int]]:
    """What encodes a text: the pair that was learnt first is merged, everywhere in the word, until there is none."""
    ranks, written = {pair: rank for rank, pair in enumerate(merges)}, alphabet()

    @cache
    def of_word(word: str) -> list[int]:
        parts = [written[byte] for byte in word.encode()]
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
            if best not in ranks:
                break
            merged, at = [], 0
            while at < len(parts):
                whole = tuple(parts[at : at + 2]) == best
                merged.append("".join(best) if whole else parts[at])
                at += 2 if whole else 1
            parts = merged
        return [ids[part] for part in parts]

    return lambda text: [number for word in split(text) for number in of_word(word)]
