"""``wordpiece``: words cut into the longest pieces known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from flexit.ir.language.kinds import INFERRED
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.vocabulary import Texts, Tokenizer

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Special tokens, in the order of their ids."""


class WordPiece(Tokenizer, kind="wordpiece"):
    """Pieces of words, with ``[CLS]`` before and ``[SEP]`` after a text (Schuster and Nakajima 2012).

    Of a word with a character that the texts did not have it makes ``[UNK]``.
    """

    fewest: ClassVar[int] = len(SPECIALS) + 1

    vocab_size: Annotated[Annotated[int, Field(ge=len(SPECIALS) + 1)] | None, INFERRED] = None
    """Tokens, five special ones among them; inferred: the rows of the model's table."""
    lowercase: bool = True
    """Lower the case and take accents away."""

    def make(self, texts: Texts, base: Path, *, rows: int, more: Sequence[str] = ()) -> RuntimeTokenizer:
        del base
        inner = Inner(models.WordPiece(unk_token="[UNK]"))
        parts: Any = inner  # the stub says that none can be set
        parts.normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        parts.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        parts.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size or rows,
            special_tokens=[*SPECIALS, *(each for each in more if each != "<mask>")],
            show_progress=False,
        )
        inner.train_from_iterator(texts(), trainer=trainer)
        parts.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(token, SPECIALS.index(token)) for token in ("[CLS]", "[SEP]")],
        )  # fmt: skip
        return RuntimeTokenizer(inner, separator="[SEP]")
