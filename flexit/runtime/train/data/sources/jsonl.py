"""``jsonl``: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from flexit.runtime.train.data.files import Document, damaged, find_documents, fingerprint, not_utf8, opened
from flexit.runtime.train.data.source import Record, Source


class Jsonl(Source, kind="jsonl"):
    """UTF-8 files of JSON Lines; the keys of the objects are columns. Empty lines are skipped."""

    examples: ClassVar = ({"files": ["train.jsonl"]},)
    files: list[str]
    """Names or patterns, relative to the run config; each must match a file."""

    def open(self, base: Path) -> JsonLines:
        """The files in the order of their hashes."""
        return JsonLines(find_documents(self.files, base))


class JsonLines:
    """Files of JSON Lines."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = documents
        self.size = sum(document.path.stat().st_size for document in documents)
        self.fingerprint = fingerprint(documents)

    def __iter__(self) -> Iterator[Record]:
        done = 0
        for document in self.documents:
            with opened(document.path) as file:
                for number, line in enumerate(file, 1):
                    done += len(line)
                    if line.strip():
                        place = f"{document.path}:{number}"
                        yield Record(_object(line.removeprefix(b"\xef\xbb\xbf"), place), place, done)


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise not_utf8(place, error) from None
    except (ValueError, RecursionError) as error:
        raise damaged(place, expected="a JSON object in each line", found=str(error)) from None
    if not isinstance(found, dict):
        raise damaged(place, expected="a JSON object in each line", found=type(found).__name__)
    return found  # pyright: ignore[reportUnknownVariableType] (any JSON object)
