"""``parquet``: columns in files of Apache Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from flexit.runtime.train.data.files import Document, damaged, find_documents, fingerprint, library, not_utf8
from flexit.runtime.train.data.source import Record, Source


class Parquet(Source, kind="parquet"):
    """Files of Apache Parquet, read a group of rows at a time; needs pyarrow."""

    examples: ClassVar = ({"files": ["train.parquet"]},)
    files: list[str]
    """Names or patterns, relative to the run config; each must match a file."""

    def open(self, base: Path) -> ParquetFiles:
        """The files in the order of their hashes."""
        library("pyarrow.parquet", "pyarrow")
        return ParquetFiles(find_documents(self.files, base))


class ParquetFiles:
    """Files of Apache Parquet."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = documents
        self.fingerprint = fingerprint(documents)
        self.size = sum(_file(document.path).metadata.num_rows for document in documents)

    def __iter__(self) -> Iterator[Record]:
        done = 0
        for document in self.documents:
            number = 0
            for values in _rows(document.path):
                done, number = done + 1, number + 1
                yield Record(values, f"{document.path}, row {number}", done)


def _file(path: Path) -> Any:
    pyarrow = library("pyarrow", "pyarrow")
    try:
        return library("pyarrow.parquet", "pyarrow").ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(str(path), expected="a file of Apache Parquet", found=str(error)) from error


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    pyarrow = library("pyarrow", "pyarrow")
    try:
        before = 0
        for batch in _file(path).iter_batches():
            yield from _listed(batch, path, before)
            before += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(str(path), expected="a file of Apache Parquet", found=str(error)) from error


def _listed(batch: Any, path: Path, before: int) -> Iterator[dict[str, Any]]:
    """The rows of a batch; one by one where its text is none, to tell which it is."""
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    for index in range(batch.num_rows):
        try:
            row = batch.slice(index, 1).to_pylist()
        except UnicodeDecodeError as error:
            raise not_utf8(f"{path}, row {before + index + 1}", error) from None
        yield from row
