"""``file``: a tokenizer that exists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.vocabulary import Texts, Tokenizer


class File(Tokenizer, kind="file"):
    """A tokenizer that exists."""

    examples: ClassVar = ({"path": "tokenizer.json"},)
    learns: ClassVar[bool] = False

    path: str
    """A ``tokenizer.json``, relative to the run config."""
    separator: str | None = None
    """A token of it to write after each document."""

    def wanted(self) -> int:
        return 0

    def make(self, texts: Texts, base: Path, *, rows: int, more: Sequence[str] = ()) -> RuntimeTokenizer:
        del texts, rows, more
        return RuntimeTokenizer.load(base / self.path, separator=self.separator)
