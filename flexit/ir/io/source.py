"""Bytes to text: the size bound, UTF-8, and characters that no document may hold."""

from __future__ import annotations

import re
from pathlib import Path

from flexit.errors import Problem, SpecError
from flexit.ir.diagnostics import problem

MAX_BYTES = 256 * 1024
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
NULL = "\0"
UNUSABLE = re.compile("[\0\ud800-\udfff]")


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a file, of which no more than the bound is read.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise SpecError([
            problem(
                "FX0100", path="", message="the file cannot be read", expected="a file that can be read",
                found=error.strerror or type(error).__name__, cure="check its name and its permissions",
            ).at(str(path), None, None)
        ]) from None  # fmt: skip


def decode(data: str | bytes, file: str, max_bytes: int = MAX_BYTES) -> str | Problem:
    """The text of a document, or what is wrong with its bytes."""
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        return problem(
            "FX0105", path="", message="the document is too large", expected=f"at most {max_bytes} bytes",
            found=f"{size} bytes" if isinstance(data, str) else f"more than {max_bytes} bytes",
            cure="write layers once, as the layer of a stack with variants; flexit check --max-bytes N takes more",
        ).at(file, None, None)  # fmt: skip
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8")
            return _bad_byte(f"byte 0x{data[error.start]:02x}", before, file)
    else:
        text = data
    text = text.removeprefix("\ufeff")
    bad = CONTROL.search(text)
    if bad is not None:
        return _bad_byte(f"the character U+{ord(bad[0]):04X}", text[: bad.start()], file)
    return text


def joined(text: str) -> str:
    """The text with two halves of a character that follow each other made one, as JSON's escapes mean them."""
    halves = UNUSABLE.search(text) is not None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") if halves else text


def unusable(text: str) -> str | None:
    """What a text holds that no name, path or library takes: half of a character (a surrogate), or a null."""
    found = UNUSABLE.search(text)
    return None if found is None else f"U+{ord(found[0]):04X}{'' if found[0] == NULL else ', half of a character'}"


def _bad_byte(found: str, before: str, file: str) -> Problem:
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    offset = len(before.encode("utf-8", "surrogatepass"))
    return problem(
        "FX0101", path="", message="not plain UTF-8 text", expected="UTF-8 without control characters",
        found=f"{found} at byte offset {offset}", cure="save the file as UTF-8 text, and remove that character",
    ).at(file, line, column)  # fmt: skip
