"""Vocabularies without merges as a GGUF file's metadata: BERT's word pieces, and pieces whose best sum is sought."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from flexit.convert.tokenizers.pieces import BYTE, SPACE, Kind
from flexit.convert.tokenizers.word_piece import CONTINUED

Data = dict[str, Any]
GGML = "tokenizer.ggml."


def word_pieces(data: Data, tokens: Sequence[str], *, added: Mapping[int, Data], known: Mapping[str, int]) -> Data:
    """Metadata of word pieces: tokens that begin a word are marked, and those that go on lose their mark.

    Args:
        data: of the tokenizer.
        tokens: by id.
        added: tokens that are whole in a text, by id.
        known: the ids of all tokens; the others are padding.
    """

    def kind(row: int, token: str) -> Kind:
        if row in added:
            return Kind.CONTROL if added[row].get("special") else Kind.USER_DEFINED
        return Kind.NORMAL if token in known else Kind.UNUSED

    kinds = [kind(row, token) for row, token in enumerate(tokens)]
    marked = [
        token if each != Kind.NORMAL
        else token.removeprefix(CONTINUED) if token.startswith(CONTINUED) and token != CONTINUED
        else SPACE + token
        for token, each in zip(tokens, kinds, strict=True)
    ]  # fmt: skip
    normal = cast("Data", data.get("normalizer") or {})
    lowered = {} if normal.get("lowercase") is not False else {f"{GGML}normalizer.lowercase": False}
    return {
        f"{GGML}model": "bert", f"{GGML}pre": "default", f"{GGML}tokens": marked,
        f"{GGML}token_type": [int(each) for each in kinds], **lowered,
    }  # fmt: skip


def unigrams(
    data: Data, tokens: Sequence[str], *, added: Mapping[int, Data], known: Mapping[str, int]
) -> Iterator[Data]:
    """Metadata that may say pieces with scores: with a space before a text and without, runs of spaces kept or not.

    Args:
        data: of the tokenizer.
        tokens: by id.
        added: tokens that are whole in a text, by id.
        known: the ids of all tokens; the others are padding.
    """
    model = cast("Data", data["model"])
    scores = {row: float(score) for row, (_, score) in enumerate(cast("list[tuple[str, float]]", model["vocab"]))}
    by_bytes = bool(model.get("byte_fallback"))

    def kind(row: int, token: str) -> Kind:
        if token not in known:
            return Kind.UNUSED
        if row == model.get("unk_id"):
            return Kind.UNKNOWN
        if row in added:
            return Kind.CONTROL if added[row].get("special") else Kind.USER_DEFINED
        return Kind.BYTE if by_bytes and BYTE.fullmatch(token) else Kind.NORMAL

    table = _table(data)
    base: Data = {
        f"{GGML}model": "t5", f"{GGML}pre": "default", f"{GGML}tokens": list(tokens),
        f"{GGML}scores": [scores.get(row, 0.0) for row in range(len(tokens))],
        f"{GGML}token_type": [int(kind(row, token)) for row, token in enumerate(tokens)],
        **({f"{GGML}precompiled_charsmap": table} if table else {}),
    }  # fmt: skip
    for squeezed in (True, False):
        for prefixed in (True, False):
            yield {**base, f"{GGML}remove_extra_whitespaces": squeezed, f"{GGML}add_space_prefix": prefixed}


def _table(data: Data) -> bytes:
    """The table of replaced characters, where a step of normalisation has one."""
    steps = [data.get("normalizer")]
    while steps:
        step = cast("Data", steps.pop() or {})
        steps += cast("list[Any]", step.get("normalizers") or [])
        if step.get("type") == "Precompiled":
            try:
                return b64decode(str(step.get("precompiled_charsmap") or ""))
            except Error:
                return b""
    return b""
