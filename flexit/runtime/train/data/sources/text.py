"""``text``: plain files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from flexit.runtime.train.data.files import Document, find_documents, fingerprint
from flexit.runtime.train.data.source import Record, Source


class Text(Source, kind="text"):
    """UTF-8 files, each one record with the column ``text``."""

    usual: ClassVar[bool] = True
    examples: ClassVar = ({"files": ["corpus/*.txt"]},)
    files: list[str]
    """Names or patterns, relative to the run config; each must match a file."""

    def open(self, base: Path) -> Texts:
        """The files in the order of their hashes, so that names and folders do not matter."""
        return Texts(find_documents(self.files, base))


class Texts:
    """Text files."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = documents
        self.size = len(documents)
        self.fingerprint = fingerprint(documents)

    def __iter__(self) -> Iterator[Record]:
        for done, document in enumerate(self.documents, 1):
            yield Record({"text": document.text()}, str(document.path), done)
