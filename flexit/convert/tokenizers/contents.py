"""The content of tokenizer files: bounded, in their folder, UTF-8, and of the JSON type that is expected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flexit.convert.sources.inside import has_file, read_file
from flexit.convert.sources.json import read_json
from flexit.convert.tokenizers.refusal import unreadable

MAX_BYTES = 128 * 2**20
"""More than any tokenizer file that is known (the largest, of 256,000 tokens with merges, takes 35 MB)."""


def text_of(folder: Path, name: str) -> str:
    """The text of a file.

    Raises:
        SourceError: FX1901, it is not UTF-8; FX1804 to FX1807, it is too large or cannot be opened.
    """
    content = bytes_of(folder, name)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(
            name, expected="UTF-8 text", found=f"byte 0x{content[error.start]:02x} at offset {error.start}"
        ) from None


def bytes_of(folder: Path, name: str) -> bytes:
    """The bytes of a file.

    Raises:
        SourceError: FX1804 to FX1807, it is too large or cannot be opened.
    """
    return read_file(folder, name, max_bytes=MAX_BYTES)


def object_of(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no such file.

    Raises:
        SourceError: FX1803, it holds none; FX1804 to FX1807, it is too large or cannot be opened.
    """
    return read_json(folder, name, max_bytes=MAX_BYTES) if has_file(folder, name) else {}


def is_utf8(text: str) -> bool:
    """Whether a text has no halves of surrogate pairs."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def text_in(data: Mapping[str, Any], key: str, *, name: str) -> str | None:
    """A text of an object; None where there is none.

    Raises:
        SourceError: FX1901, it is of another type.
    """
    value = data.get(key)
    if value is not None and (not isinstance(value, str) or not is_utf8(value)):
        raise unreadable(name, expected=f"a text in {key}", found=f"{value!r}")
    return value


def flag_in(data: Mapping[str, Any], key: str, *, name: str) -> bool | None:
    """A truth value of an object; None where there is none.

    Raises:
        SourceError: FX1901, it is of another type.
    """
    value = data.get(key)
    if value is not None and not isinstance(value, bool):
        raise unreadable(name, expected=f"true or false in {key}", found=f"{value!r}")
    return value
