"""``words``: what stands between spaces is a token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from tokenizers import pre_tokenizers

from flexit.runtime.tokenizer import SEPARATOR
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.tokenizers._table import UNKNOWN, table
from flexit.runtime.train.data.vocabulary import Texts, Tokenizer, with_more


class Words(Tokenizer, kind="words"):
    """The words that the texts have, as white space divides them; others become ``<unk>``.

    For symbols that are written apart: phonemes, notes, moves. Decoded, they stand one space apart.
    """

    fewest: ClassVar[int] = 3

    separator: str = SEPARATOR
    """The token after each document, which ends generation too."""
    specials: list[str] = Field(default_factory=list[str])
    """More tokens that no text becomes, such as <mask>."""

    def wanted(self) -> int:
        return self.fewest + len(self.specials)

    def make(self, texts: Texts, base: Path, *, rows: int, more: Sequence[str] = ()) -> RuntimeTokenizer:
        del base
        specials = [self.separator, UNKNOWN, *with_more(self.specials, more)]
        cut = pre_tokenizers.WhitespaceSplit()
        found = {word for text in texts() for word, _ in cut.pre_tokenize_str(text)}
        parts: Any = table(found, specials, rows=rows, called="words")  # the stub says that it cannot be set
        parts.pre_tokenizer = cut
        return RuntimeTokenizer(parts, separator=self.separator)
