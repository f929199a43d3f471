"""Files of data: patterns to files, files to their hashes."""

from __future__ import annotations

import glob
import hashlib
import importlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from flexit.errors import UserError
from flexit.ir.wording import shown

MOST_NAMES = 500_000
"""Files and folders that a pattern may match; links that lead in a circle match without end."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file.

    Attributes:
        path: where it is.
        sha256: of its bytes, hexadecimal.
    """

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Document:
        """A file, which is read once.

        Raises:
            UserError: FX1601, it cannot be read.
        """
        found = hashlib.sha256()
        with opened(path) as file:
            while piece := file.read(2**20):
                found.update(piece)
        return cls(path, found.hexdigest())

    def text(self) -> str:
        """Its text, without a mark of the byte order.

        Raises:
            UserError: FX1602, it is not UTF-8; FX1601, it cannot be read.
        """
        try:
            with opened(self.path) as file:
                return file.read().decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise not_utf8(str(self.path), error) from None


def find_documents(patterns: Sequence[str], base: Path) -> list[Document]:
    """The files that patterns name, each once, in the order of their hashes, so that names and folders do not matter.

    Raises:
        UserError: FX1601, a pattern matches no file, or a file cannot be read.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        names = list(islice(glob.iglob(pattern, root_dir=base, recursive=True), MOST_NAMES + 1))
        if len(names) > MOST_NAMES:
            raise UserError.of(
                "FX1601", f"too much matches {pattern}", path="files", found="more",
                expected=f"at most {MOST_NAMES:,} files and folders",
                cure="name the folder of the text, or join its files",
            )  # fmt: skip
        files = [path for path in (base / name for name in sorted(names)) if path.is_file()]
        if not files:
            raise UserError.of(
                "FX1601", f"no file matches {shown(pattern)}", path="files", expected="at least one file",
                found=f"none in {base / pattern}", cure="correct the pattern; it is relative to the run config",
            )  # fmt: skip
        paths |= dict.fromkeys(path.resolve() for path in files)
    documents = [Document.of(path) for path in paths]
    return sorted(documents, key=lambda document: (document.sha256, str(document.path)))


def require_file(file: Path, *, path: str) -> None:
    """Raise where a file is not there.

    Args:
        file: the file.
        path: the field that names it.

    Raises:
        UserError: FX1601.
    """
    if not file.is_file():
        raise UserError.of(
            "FX1601", f"there is no {file}", path=path, expected="a file", found="nothing",
            cure=f"make it, or correct {path}",
        )  # fmt: skip


def texts(documents: Sequence[Document]) -> Iterator[str]:
    """The text of each document."""
    return (document.text() for document in documents)


@contextmanager
def located(path: str) -> Iterator[None]:
    """Lets messages of a source say where in the run config it stands.

    Args:
        path: of the source; what is raised inside has paths from there, such as ``files``.
    """
    try:
        yield
    except UserError as error:
        problems = [replace(each, path=f"{path}.{each.path}" if each.path else path) for each in error.problems]
        raise type(error)(problems) from error.__cause__


def fingerprint(documents: Sequence[Document]) -> str:
    """sha256 over the contents of all documents, hexadecimal."""
    return hashlib.sha256("\n".join(document.sha256 for document in documents).encode()).hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to read.

    Raises:
        UserError: FX1601, it cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error) from error


def decoded(lines: Iterable[bytes], path: Path) -> Iterator[str]:
    """Lines as text, without a mark of the byte order.

    Raises:
        UserError: FX1602, one is not UTF-8.
    """
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(f"{path}:{number}", error) from None
        yield text.removeprefix("\ufeff") if number == 1 else text


def library(module: str, package: str) -> Any:
    """A library that only some sources need.

    Raises:
        UserError: FX1608, it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError.of(
            "FX1608", f"{package} is not installed", path="", expected=f"{package}, which reads this source",
            found=str(error), cure=f"pip install {package}, or pip install 'flexit-ml[train]'",
        ) from error  # fmt: skip


def damaged(place: str, *, expected: str, found: str) -> UserError:
    """What to raise for a file that is not what it should be."""
    return UserError.of(
        "FX1607", f"{place} cannot be read as data", path="", expected=expected, found=found,
        cure="mend the file, or leave it out of the pattern",
    )  # fmt: skip


def not_utf8(place: str, error: UnicodeDecodeError) -> UserError:
    """What to raise for bytes that are no text."""
    return UserError.of(
        "FX1602", f"{place} is not UTF-8 text", path="files", expected="UTF-8",
        found=f"byte 0x{error.object[error.start]:02x} at offset {error.start}",
        cure="convert the file, or leave it out of the pattern",
    )  # fmt: skip


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError.of(
        "FX1601", f"{path} cannot be read", path="files", expected="a readable file",
        found=error.strerror or type(error).__name__, cure="check its permissions, or leave it out of the pattern",
    )  # fmt: skip
