"""``unigram``: the pieces under which the texts are most probable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from tokenizers import Tokenizer as Inner
from tokenizers import decoders, models, pre_tokenizers, trainers

from flexit.ir.language.kinds import INFERRED
from flexit.runtime.tokenizer import FEWEST, SEPARATOR
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.vocabulary import Texts, Tokenizer, with_more


class Unigram(Tokenizer, kind="unigram"):
    """Pieces of bytes chosen by a unigram model of the texts (Kudo 2018, arXiv 1804.10959)."""

    fewest: ClassVar[int] = FEWEST

    vocab_size: Annotated[Annotated[int, Field(ge=FEWEST)] | None, INFERRED] = None
    """Tokens, the 256 bytes and the separator among them; inferred: the rows of the model's table."""
    separator: str = SEPARATOR
    """The token after each document, which ends generation too."""
    specials: list[str] = Field(default_factory=list[str])
    """More tokens that no text becomes, such as <mask>."""

    def make(self, texts: Texts, base: Path, *, rows: int, more: Sequence[str] = ()) -> RuntimeTokenizer:
        del base
        inner = Inner(models.Unigram())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue] (the stub lacks it)
        inner.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue] (the stub lacks it)
        trainer = trainers.UnigramTrainer(
            vocab_size=self.vocab_size or rows, special_tokens=[self.separator, *with_more(self.specials, more)],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        )  # fmt: skip
        inner.train_from_iterator(texts(), trainer=trainer)
        return RuntimeTokenizer(inner, separator=self.separator)
