"""``bpe``: pairs of bytes that occur often, merged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from flexit.ir.language.kinds import INFERRED
from flexit.runtime.tokenizer import FEWEST, SEPARATOR
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.vocabulary import Texts, Tokenizer, with_more


class Bpe(Tokenizer, kind="bpe"):
    """Byte-level byte-pair encoding, trained on the files (Sennrich et al. 2016; bytes as in GPT-2)."""

    usual: ClassVar[bool] = True
    fewest: ClassVar[int] = FEWEST

    vocab_size: Annotated[Annotated[int, Field(ge=FEWEST)] | None, INFERRED] = None
    """Tokens, the 256 bytes and the separator among them; inferred: the rows of the model's table."""
    separator: str = SEPARATOR
    """The token after each document, which ends generation too."""
    specials: list[str] = Field(default_factory=list[str])
    """More tokens that no text becomes, such as <mask>."""

    def make(self, texts: Texts, base: Path, *, rows: int, more: Sequence[str] = ()) -> RuntimeTokenizer:
        del base
        return RuntimeTokenizer.train(
            texts(),
            vocab_size=self.vocab_size or rows,
            separator=self.separator,
            specials=with_more(self.specials, more),
        )
