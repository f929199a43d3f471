"""Pieces with scores, as SentencePiece has them (Kudo & Richardson 2018), as a tokenizer that reads texts so too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from flexit.convert.tokenizers.refusal import inconsistent, unknown, unreadable

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
ALWAYS = 100.0
"""Score of a character that is better than any sum of others beside it."""
BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class Kind(IntEnum):
    """What a piece is, by SentencePiece's numbers, which GGUF has taken over."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """A row of the vocabulary."""

    text: str
    score: float
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """A vocabulary and how its texts are normalised.

    Attributes:
        pieces: in the order of their ids.
        unigram: whether the best segmentation is sought (Kudo 2018) or pairs are merged, the best score first.
        charsmap: table of replaced characters, or nothing.
        prefixed: whether a text is given a space at its front.
        squeezed: whether spaces at the ends are dropped and runs of them are one.
        byte_fallback: whether characters without a piece are read as bytes.
        before: steps of normalisation that come first, as a family has them.
    """

    pieces: Sequence[Piece]
    unigram: bool
    charsmap: bytes = b""
    prefixed: bool = True
    squeezed: bool = False
    byte_fallback: bool = False
    before: tuple[Any, ...] = ()

    def tokenizer(self, *, file: str) -> Tokenizer:
        """The tokenizer.

        Raises:
            SourceError: FX1902, there is no unknown piece, two pieces are one text, or bytes are missing; FX1903, pairs
            are merged in texts that are normalised, between symbols that the user defined.
        """
        self._require(file)
        defined = any(piece.kind == Kind.USER_DEFINED for piece in self.pieces)
        if defined and not self.unigram and (self.charsmap or self.squeezed):
            raise unknown(
                file, "this SentencePiece model is not converted", expected="bpe without symbols of the user, or with "
                "texts that are not normalised", found="symbols of the user in normalised texts",
            )  # fmt: skip
        inner = Tokenizer(self._unigram() if self.unigram else self._bpe())
        parts: Any = inner  # the stub says that these cannot be set
        parts.normalizer = normalizers.Sequence(list(self._steps(file)))
        whole = self._apart()
        if whole is not None:
            parts.pre_tokenizer = whole
        parts.decoder = self._decoder()
        for piece in self.pieces:
            if piece.kind == Kind.CONTROL:
                inner.add_special_tokens([AddedToken(piece.text, normalized=False, special=True)])
            elif piece.kind == Kind.USER_DEFINED and not self.unigram:
                inner.add_tokens([AddedToken(piece.text, normalized=not self.prefixed, special=False)])
        return inner

    def _require(self, file: str) -> None:
        places: dict[str, int] = {}
        for row, piece in enumerate(self.pieces):
            if not piece.text:
                raise inconsistent(file, "a piece has no text", expected="a text for each id", found=f"none for {row}")
            if piece.text in places:
                raise inconsistent(
                    file, "two pieces are one text", expected="each piece once",
                    found=f"{piece.text!r} for {places[piece.text]} and {row}",
                )  # fmt: skip
            places[piece.text] = row
        unknowns = [piece for piece in self.pieces if piece.kind == Kind.UNKNOWN]
        if not unknowns:
            raise inconsistent(file, "there is no unknown piece", expected="one piece of that kind", found="none")
        n_bytes = sum(bool(BYTE.fullmatch(piece.text)) for piece in self.pieces if piece.kind == Kind.BYTE)
        if self.byte_fallback and n_bytes != 256:
            raise inconsistent(file, "bytes have no pieces", expected="256 pieces <0x00> to <0xFF>", found=str(n_bytes))

    def _unknown(self) -> int:
        return next(row for row, piece in enumerate(self.pieces) if piece.kind == Kind.UNKNOWN)

    def _unigram(self) -> Any:
        """A search for the best sum of scores, in which pieces that the user defined are chosen wherever they stand."""
        worst = min((piece.score for piece in self.pieces if piece.kind == Kind.NORMAL), default=0.0)
        scores = [
            len(piece.text) * ALWAYS if piece.kind == Kind.USER_DEFINED
            else piece.score if piece.kind == Kind.NORMAL else worst
            for piece in self.pieces
        ]  # fmt: skip
        vocabulary = list(zip((piece.text for piece in self.pieces), scores, strict=True))
        return models.Unigram(vocabulary, self._unknown(), self.byte_fallback)

    def _bpe(self) -> Any:
        ids = {piece.text: row for row, piece in enumerate(self.pieces)}
        return models.BPE(
            vocab=ids, merges=self._merges(ids), unk_token=self.pieces[self._unknown()].text, fuse_unk=True,
            byte_fallback=self.byte_fallback,
        )  # fmt: skip

    def _merges(self, ids: dict[str, int]) -> list[tuple[str, str]]:
        """Every pair of pieces that is a piece, the best score of what it gives first."""
        usable = {piece.text for piece in self.pieces if piece.kind in (Kind.NORMAL, Kind.UNUSED)}

        def pairs() -> Iterator[tuple[float, int, str, str]]:
            for piece in self.pieces:
                if piece.text in usable:
                    for at in range(1, len(piece.text)):
                        left, right = piece.text[:at], piece.text[at:]
                        if left in usable and right in usable:
                            yield -piece.score, ids[piece.text], left, right

        return [(left, right) for _, _, left, right in sorted(pairs(), key=_rank)]

    def _steps(self, file: str) -> Iterator[Any]:
        """Normalisation in SentencePiece's order."""
        yield from self.before
        if self.charsmap:
            table = _table(self.charsmap, file)
            apart = table.normalize_str("\r") + table.normalize_str("\n")
            if table.normalize_str("\r\n") != apart:  # the library looks the two up as one
                yield normalizers.Replace("\r\n", apart)
            yield table
        if self.squeezed:
            yield normalizers.Replace(Regex(r"\A +| +\z"), "")
            yield normalizers.Replace(Regex(" {2,}"), " ")
        if self.prefixed:
            yield normalizers.Prepend(SPACE)
        yield normalizers.Replace(" ", SPACE)

    def _apart(self) -> Any:
        """Cuts before the last character of what is written like a control piece: text never becomes one.

        Only a search over all pieces could find one; no merge makes it.
        """
        kinds = (Kind.CONTROL, Kind.UNKNOWN, Kind.BYTE, Kind.UNUSED)
        texts = [piece.text for piece in self.pieces if piece.kind in kinds and len(piece.text) > 1]
        if not self.unigram or not texts:
            return None
        others = [text for text in texts if not BYTE.fullmatch(text)]
        patterns = [f"(?<={re.escape(text[:-1])})(?={re.escape(text[-1])})" for text in others]
        if len(others) < len(texts):
            patterns.append("(?<=<0x[0-9A-F]{2})(?=>)")
        return pre_tokenizers.Split(Regex("|".join(patterns)), behavior="isolated")

    def _decoder(self) -> Any:
        steps: list[Any] = [decoders.Replace(SPACE, " ")]
        if self.byte_fallback:
            steps.append(decoders.ByteFallback())
        steps.append(decoders.Fuse())
        if self.prefixed:
            steps.append(decoders.Strip(content=" ", left=1, right=0))
        return decoders.Sequence(steps)


def _table(charsmap: bytes, file: str) -> Any:
    try:
        return normalizers.Precompiled(charsmap)
    except Exception as error:  # the library raises bare Exception
        raise unreadable(file, expected="a table of characters", found=str(error)) from error


def _rank(pair: tuple[float, int, str, str]) -> tuple[float, int, int]:
    return pair[0], pair[1], len(pair[2])
