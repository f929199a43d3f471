"""SentencePiece files (``tokenizer.model``, ``spiece.model``, ``sentencepiece.bpe.model``), with the rows and the steps
of normalisation that a family has added to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, normalizers

from flexit.convert.tokenizers.contents import flag_in
from flexit.convert.tokenizers.conventions import Chosen, Convention
from flexit.convert.tokenizers.pieces import Kind, Piece, Pieces
from flexit.convert.tokenizers.refusal import inconsistent, sentencepiece_messages, unknown, unreadable
from flexit.convert.tokenizers.specials import CONFIG, MAX_ID

UNIGRAM, BPE = 1, 2
COMMA = re.compile(r"\d,$")


def pieces_of(content: bytes, *, file: str) -> Pieces:
    """The pieces of a SentencePiece file.

    Raises:
        SourceError: FX1901, it is none; FX1902, a score is no number; FX1903, it is of words or characters, or puts
            spaces at the ends of words; FX1825, the library is not there.
    """
    messages = sentencepiece_messages()
    model = messages.ModelProto()
    try:
        model.ParseFromString(content)
        pieces = [Piece(str(each.piece), float(each.score), Kind(each.type)) for each in model.pieces]
    except Exception as error:  # of the protobuf library, which has no common class for its versions
        raise unreadable(file, expected="a SentencePiece model", found=str(error) or type(error).__name__) from error
    if not pieces:
        raise unreadable(file, expected="a SentencePiece model", found="no pieces")
    trained, normal = model.trainer_spec, model.normalizer_spec
    if trained.model_type not in (UNIGRAM, BPE) or trained.treat_whitespace_as_suffix:
        suffix = (
            "spaces at the ends of words" if trained.treat_whitespace_as_suffix else "a model of words or characters"
        )
        raise unknown(
            file, "this SentencePiece model is not converted",
            expected="unigram or bpe, with spaces at the beginnings of words", found=suffix,
        )  # fmt: skip
    wrong = next((row for row, piece in enumerate(pieces) if not isfinite(piece.score)), None)
    if wrong is not None:
        raise inconsistent(file, "a score is no number", expected="numbers", found=f"{pieces[wrong].score} for {wrong}")
    return Pieces(
        pieces=pieces, unigram=trained.model_type == UNIGRAM, charsmap=bytes(normal.precompiled_charsmap),
        prefixed=bool(normal.add_dummy_prefix), squeezed=bool(normal.remove_extra_whitespaces),
        byte_fallback=bool(trained.byte_fallback),
    )  # fmt: skip


def sentence_piece(content: bytes, chosen: Chosen, config: Mapping[str, Any], *, file: str) -> Tokenizer:
    """The tokenizer of a SentencePiece file as a family uses it.

    Args:
        content: of the file.
        chosen: the family's convention.
        config: ``tokenizer_config.json``: ``extra_ids``, ``do_lower_case``, ``keep_accents``, ``add_prefix_space``.
        file: the file's name, which is blamed.

    Raises:
        SourceError: as :func:`pieces_of`; FX1901, a setting is of another type.
    """
    convention = chosen.convention
    given = pieces_of(content, file=file)
    prefixed = flag_in(config, "add_prefix_space", name=CONFIG)
    given = replace(
        given, pieces=_with_head(given, convention, commas=chosen.name == "Albert"),
        before=_before(chosen.name, convention, config),
        prefixed=given.prefixed if prefixed is None else prefixed,
    )  # fmt: skip
    inner = given.tokenizer(file=file)
    count = config.get("extra_ids", convention.sentinels)
    if type(count) is not int or not 0 <= count <= min(10_000, MAX_ID):
        raise unreadable(CONFIG, expected="a number from 0 to 10000 in extra_ids", found=repr(count))
    extra = [AddedToken(f"<extra_id_{n}>", normalized=False, special=True) for n in reversed(range(count))]
    inner.add_special_tokens(extra)  # pyright: ignore[reportArgumentType]
    return inner


def _with_head(given: Pieces, convention: Convention, *, commas: bool) -> list[Piece]:
    """The pieces with those in front that the family's own table has; with ``commas`` none has a digit's comma."""
    if commas:
        return [
            replace(piece, kind=Kind.UNUSED) if piece.kind == Kind.NORMAL and COMMA.search(piece.text) else piece
            for piece in given.pieces
        ]
    if not convention.head:
        return list(given.pieces)
    kinds = {"<unk>": Kind.UNKNOWN}
    head = [Piece(text, 0.0, kinds.get(text, Kind.CONTROL)) for text in convention.head]
    return head + list(given.pieces[convention.skipped :])


def _before(name: str, convention: Convention, config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Steps of normalisation that come before SentencePiece's own."""
    if name != "Albert":
        return ()
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if flag_in(config, "keep_accents", name=CONFIG) is not True:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    lowered = flag_in(config, "do_lower_case", name=CONFIG)
    if convention.lower_case if lowered is None else lowered:
        steps.append(normalizers.Lowercase())
    return (normalizers.Replace(Regex(r"\A\s+|\s+\z"), ""), normalizers.Replace(Regex(r"\s+"), " "), *steps)
