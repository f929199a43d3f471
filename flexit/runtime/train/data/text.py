"""Text files: patterns to files, files to their hashes and their text."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from flexit.errors import UserError
from flexit.ir.wording import shown

MOST_NAMES = 500_000
"""Files and folders that a pattern may match; links that lead in a circle match without end."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text file.

    Attributes:
        path: where it is.
        sha256: of its bytes, hexadecimal.
    """

    path: Path
    sha256: str

    def text(self) -> str:
        """Its text.

        Raises:
            UserError: FX1602, it is not UTF-8; FX1601, it cannot be read.
        """
        try:
            return _read(self.path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError.of(
                "FX1602", f"{self.path} is not UTF-8 text", path="data.train.files", expected="UTF-8",
                found=f"byte 0x{error.object[error.start]:02x} at offset {error.start}",
                cure="convert the file, or leave it out of the pattern",
            ) from None  # fmt: skip


def find_documents(patterns: Sequence[str], base: Path) -> list[Document]:
    """The files that patterns name, each once, in the order of their hashes, so that names and folders do not matter.

    Raises:
        UserError: FX1601, a pattern matches no file, or a file cannot be read.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        names = list(islice(glob.iglob(str(base / pattern), recursive=True), MOST_NAMES + 1))
        if len(names) > MOST_NAMES:
            raise UserError.of(
                "FX1601", f"too much matches {pattern}", path="data.train.files", found="more",
                expected=f"at most {MOST_NAMES:,} files and folders",
                cure="name the folder of the text, or join its files",
            )  # fmt: skip
        files = [path for path in map(Path, sorted(names)) if path.is_file()]
        if not files:
            raise UserError.of(
                "FX1601", f"no file matches {shown(pattern)}", path="data.train.files", expected="at least one file",
                found=f"none in {base / pattern}", cure="correct the pattern; it is relative to the run config",
            )  # fmt: skip
        paths |= dict.fromkeys(path.resolve() for path in files)
    documents = [Document(path, hashlib.sha256(_read(path)).hexdigest()) for path in paths]
    return sorted(documents, key=lambda document: (document.sha256, str(document.path)))


def texts(documents: Sequence[Document]) -> Iterator[str]:
    """The text of each document."""
    return (document.text() for document in documents)


def fingerprint(documents: Sequence[Document]) -> str:
    """sha256 over the contents of all documents, hexadecimal."""
    return hashlib.sha256("\n".join(document.sha256 for document in documents).encode()).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError.of(
            "FX1601", f"{path} cannot be read", path="data.train.files", expected="a readable file",
            found=error.strerror or type(error).__name__, cure="check its permissions, or leave it out of the pattern",
        ) from error  # fmt: skip
