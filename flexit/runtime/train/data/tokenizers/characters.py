"""``characters``: each character is a token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from tokenizers import Regex, decoders, pre_tokenizers

from flexit.runtime.tokenizer import SEPARATOR
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.tokenizers._table import UNKNOWN, table
from flexit.runtime.train.data.vocabulary import Texts, Tokenizer, with_more


class Characters(Tokenizer, kind="characters"):
    """The characters that the texts have; others become ``<unk>``."""

    fewest: ClassVar[int] = 3

    separator: str = SEPARATOR
    """The token after each document, which ends generation too."""
    specials: list[str] = Field(default_factory=list[str])
    """More tokens that no text becomes, such as <mask>."""

    def wanted(self) -> int:
        return self.fewest + len(self.specials)

    def may_read(self, token: str) -> bool:
        return len(token) == 1

    def make(self, texts: Texts, base: Path, *, rows: int, more: Sequence[str] = ()) -> RuntimeTokenizer:
        del base
        specials = [self.separator, UNKNOWN, *with_more(self.specials, more)]
        found = {character for text in texts() for character in set(text)}
        parts: Any = table(found, specials, rows=rows, called="characters")  # the stub says that none can be set
        parts.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        parts.decoder = decoders.Fuse()
        return RuntimeTokenizer(parts, separator=self.separator)
