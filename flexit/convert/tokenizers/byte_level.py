"""``vocab.json`` and ``merges.txt``: byte-pair encoding of bytes, as in GPT-2 (Radford et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from flexit.convert.tokenizers.refusal import inconsistent
from flexit.convert.tokenizers.specials import MAX_ID

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORDS = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = rf"{_WORDS}|\p{{N}}{_REST}"
DIGITS = "digits"
"""As in GPT-2, after every digit has been set apart."""


def byte_level(
    vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], *, file: str, split: str = GPT2,
    add_prefix_space: bool = False, nfc: bool = False, ignore_merges: bool = False,
) -> Tokenizer:  # fmt: skip
    """The tokenizer of a vocabulary of bytes.

    Args:
        vocabulary: ids of tokens, whose bytes are written as GPT-2 writes them.
        merges: pairs that become one token, the first first.
        file: the file of the merges, which is blamed.
        split: pattern of the words that no token crosses.
        add_prefix_space: whether a text that does not begin with a space is given one.
        nfc: whether texts are first in Unicode's composed form.
        ignore_merges: whether a word that is a token is that token, whatever its merges.

    Raises:
        SourceError: FX1902, a merge is of tokens, or gives one, that the vocabulary has not.
    """
    for left, right in merges:
        absent = next((token for token in (left, right, left + right) if token not in vocabulary), None)
        if absent is not None:
            raise inconsistent(
                file, f"a merge needs a token that is not in the vocabulary: {absent!r}",
                expected="merges of tokens into tokens", found=f"{left} {right}",
            )  # fmt: skip
    inner = Tokenizer(models.BPE(vocab=dict(vocabulary), merges=list(merges), ignore_merges=ignore_merges))
    parts: Any = inner  # the stub says that these cannot be set
    if nfc:
        parts.normalizer = normalizers.NFC()
    parts.pre_tokenizer = _pre_tokenizer(split, add_prefix_space)
    parts.decoder = decoders.ByteLevel()
    return inner


def _pre_tokenizer(split: str, add_prefix_space: bool) -> Any:
    if split == GPT2:
        return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    if split == DIGITS:
        words: Any = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=False),
    ])  # fmt: skip


def vocabulary_of(data: Mapping[str, Any], *, file: str) -> dict[str, int]:
    """The ids of a ``vocab.json``.

    Raises:
        SourceError: FX1902, an id is none, or two tokens have it.
    """
    taken: dict[int, str] = {}
    for token, number in data.items():
        if type(number) is not int or not 0 <= number <= MAX_ID:
            raise inconsistent(
                file, "a token has no id", expected="a number from 0", found=f"{number!r} for {token!r}"
            )  # fmt: skip
        if number in taken:
            raise inconsistent(
                file, "two tokens have one id", expected="an id for each",
                found=f"{number} for {taken[number]!r} and {token!r}",
            )  # fmt: skip
        taken[number] = token
    if not taken:
        raise inconsistent(file, "the vocabulary is empty", expected="ids of tokens", found="no token")
    return {token: number for number, token in taken.items()}


def merges_of(lines: Sequence[str], *, file: str) -> list[tuple[str, str]]:
    """The pairs of a ``merges.txt``, a line each.

    Raises:
        SourceError: FX1902, a line is no pair.
    """
    found: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not all(pair):
            raise inconsistent(
                file, "a merge is no pair", expected="two tokens with a space between", found=f"{line!r} in {number}"
            )  # fmt: skip
        found.append((pair[0], pair[1]))
    return found
