"""How text becomes token ids: tokenizers that are trained on the data, read from a file, or need no training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from flexit.ir.language.kinds import Kind
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer

Texts = Callable[[], Iterable[str]]
"""Gives the texts to learn from, each time anew."""


class Tokenizer(Kind, family="Tokenizer", package="flexit.runtime.train.data.tokenizers"):
    """How text becomes token ids."""

    learns: ClassVar[bool] = True
    """Whether it is made from the texts, and kept with the run; otherwise it is read again each time, and compared."""
    fewest: ClassVar[int] = 1
    """Tokens that it has at least."""

    def wanted(self) -> int:
        """Tokens that it will have at least, as far as its fields say; 0 where only its file does."""
        size: int | None = getattr(self, "vocab_size", None)
        return size or self.fewest

    def may_read(self, token: str) -> bool:
        """Whether it would read a text as this token, though a byte-level tokenizer would not."""
        del token
        return False

    def make(self, texts: Texts, base: Path, *, rows: int, more: Sequence[str] = ()) -> RuntimeTokenizer:
        """The tokenizer.

        Args:
            texts: to learn from.
            base: folder that paths are relative to.
            rows: of the model's table, which are as many tokens as it may have where no field says a size.
            more: special tokens that the task needs; one that is trained has them, whatever it is told.

        Raises:
            UserError: FX1604, it cannot be read; FX1609, the texts do not fit in it.
        """
        raise NotImplementedError


def with_more(specials: Sequence[str], more: Sequence[str]) -> list[str]:
    """Special tokens and those that a task needs besides, each once."""
    return list(dict.fromkeys([*specials, *more]))
