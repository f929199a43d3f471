"""The content of tokenizer files: bounded, UTF-8, and of the JSON type that is expected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from flexit.convert.tokenizers.refusal import unreadable

MAX_BYTES = 128 * 2**20
"""More than any tokenizer file that is known (the largest, of 256,000 tokens with merges, takes 35 MB)."""


def text_of(file: Path) -> str:
    """The text of a file.

    Raises:
        SourceError: FX1901, it is too large, is not UTF-8, or the system refused.
    """
    content = bytes_of(file)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(
            file.name, expected="UTF-8 text", found=f"byte 0x{content[error.start]:02x} at offset {error.start}"
        ) from None


def bytes_of(file: Path) -> bytes:
    """The bytes of a file.

    Raises:
        SourceError: FX1901, it is too large, or the system refused.
    """
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise unreadable(file.name, expected=f"at most {MAX_BYTES:,} bytes", found=f"{size:,} bytes")
        return file.read_bytes()
    except OSError as error:
        raise unreadable(file.name, expected="a file that can be read", found=error.strerror or str(error)) from error


def object_of(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no such file.

    Raises:
        SourceError: FX1901, it holds none.
    """
    return json_object(file.name, text_of(file)) if file.is_file() else {}


def json_object(name: str, text: str) -> dict[str, Any]:
    """A text as a JSON object.

    Raises:
        SourceError: FX1901, it is none.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unreadable(name, expected="a JSON object", found=str(error)) from None
    if not isinstance(found, dict):
        raise unreadable(name, expected="a JSON object", found=text[:60])
    if "\\ud" in text.lower() and not is_utf8(json.dumps(found, ensure_ascii=False)):
        raise unreadable(name, expected="characters", found="half of a surrogate pair, as an escape")
    return cast("dict[str, Any]", found)


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
