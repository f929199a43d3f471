"""The words of a part of the data with every way to say them, and how many of them a model says wrongly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from examples.pronunciation.prepare import DATA

LONGEST = 40
"""Tokens of a word or its phonemes with the one that ends them, as in ``run.yaml``."""


def ways(part: str) -> dict[str, set[str]]:
    """Every way to say each word of a part (train, validation, test)."""
    found: dict[str, set[str]] = {}
    for line in (DATA / f"{part}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["source"], set()).add(row["target"])
    return found


def by_length(words: Sequence[str], size: int) -> Iterator[list[str]]:
    """Words in batches of about one length."""
    ordered = sorted(words, key=lambda word: (len(word), word))
    for first in range(0, len(ordered), size):
        yield ordered[first : first + size]


def word_error(said: Mapping[str, str], known: Mapping[str, set[str]]) -> float:
    """The share of words that are said in none of the ways that the dictionary has."""
    return sum(said[word] not in known[word] for word in known) / len(known)
