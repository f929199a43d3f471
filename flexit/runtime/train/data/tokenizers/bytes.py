"""``bytes``: each byte of UTF-8 is a token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from flexit.runtime.tokenizer import FEWEST, SEPARATOR
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.vocabulary import Texts, Tokenizer, with_more


class Bytes(Tokenizer, kind="bytes"):
    """The 256 bytes of UTF-8, nothing learnt."""

    fewest: ClassVar[int] = FEWEST

    separator: str = SEPARATOR
    """The token after each document, which ends generation too."""
    specials: list[str] = Field(default_factory=list[str])
    """More tokens that no text becomes, such as <mask>."""

    def wanted(self) -> int:
        return FEWEST + len(self.specials)

    def make(self, texts: Texts, base: Path, *, rows: int, more: Sequence[str] = ()) -> RuntimeTokenizer:
        del texts, base, rows
        specials = with_more(self.specials, more)
        return RuntimeTokenizer.train(
            [], vocab_size=FEWEST + len(specials), separator=self.separator, specials=specials
        )
