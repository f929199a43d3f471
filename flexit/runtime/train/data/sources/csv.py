"""``csv``: a table as text."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from flexit.runtime.train.data.files import Document, damaged, decoded, find_documents, fingerprint, opened
from flexit.runtime.train.data.source import Record, Source

LONGEST = 2**31 - 1
"""Characters of a cell; the module's own bound is far below a long text."""


class Csv(Source, kind="csv"):
    """UTF-8 files of comma-separated values (RFC 4180), whose first row names the columns."""

    examples: ClassVar = ({"files": ["train.csv"]},)
    files: list[str]
    """Names or patterns, relative to the run config; each must match a file."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What stands between two cells."""

    def open(self, base: Path) -> Tables:
        """The files in the order of their hashes."""
        return Tables(find_documents(self.files, base), self.delimiter)


class Tables:
    """Files of comma-separated values."""

    def __init__(self, documents: Sequence[Document], delimiter: str) -> None:
        self.documents = documents
        self.delimiter = delimiter
        self.size = sum(document.path.stat().st_size for document in documents)
        self.fingerprint = fingerprint(documents)

    def __iter__(self) -> Iterator[Record]:
        before = 0
        for document in self.documents:
            with opened(document.path) as file:
                done = before
                for number, values in _rows(decoded(file, document.path), document.path, self.delimiter):
                    done = before + min(file.tell(), document.path.stat().st_size)
                    yield Record(values, f"{document.path}:{number}", done)
            before += document.path.stat().st_size


def _rows(lines: Iterator[str], path: Path, delimiter: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows under a heading, and the line that each ends in."""
    csv.field_size_limit(LONGEST)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        heading = next(reader, [])
        if len(set(heading)) < len(heading) or not heading:
            raise damaged(
                str(path), expected="a first row that names each column once", found=", ".join(heading) or "nothing"
            )
        for row in reader:
            if row and len(row) != len(heading):
                raise damaged(
                    f"{path}:{reader.line_num}",
                    expected=f"{len(heading)} cells, as the first row has",
                    found=f"{len(row)}",
                )
            if row:
                yield reader.line_num, dict(zip(heading, row, strict=True))
    except csv.Error as error:
        raise damaged(f"{path}:{reader.line_num}", expected="comma-separated values", found=str(error)) from None
