"""JSON objects from anyone: bounded, without keys that are there twice, every number finite."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import Any

from flexit.convert.sources.inside import read_file
from flexit.errors import SourceError
from flexit.ir.wording import cut, typed

MAX_BYTES = 16 * 2**20
"""Of a configuration or an index; an index of 60,000 tensors takes 6 MiB."""


def read_json(folder: Path, name: str, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object in a file of the folder.

    Raises:
        SourceError: FX1803 the bytes are none, FX1804 to FX1807 the file is too large or cannot be opened.
    """
    return parse_json(read_file(folder, name, max_bytes=max_bytes), str(folder / name))


def parse_json(data: bytes, place: str) -> dict[str, Any]:
    """The JSON object that these bytes are, with finite numbers, no key twice and texts that can be written as UTF-8.

    Raises:
        SourceError: FX1803, they are none.
    """
    try:
        text = data.decode("utf-8")
        value = json.loads(text, parse_constant=_constant, parse_float=_finite, object_pairs_hook=_unique)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise _no_json(place, "values within each other, too deeply") from None
    except ValueError as error:
        raise _no_json(place, cut(str(error))) from None
    if not isinstance(value, dict):
        raise _no_json(place, typed(value))
    return value


def _no_json(place: str, found: str) -> SourceError:
    return SourceError.of(
        "FX1803", f"{place} cannot be read", expected="a JSON object with finite numbers, in which no key is twice",
        found=found, cure="copy the checkpoint anew, or ask whoever wrote it",
    )  # fmt: skip


def _constant(name: str) -> float:
    raise ValueError(f"{name}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{cut(text)}, which is too large a number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"the key {cut(key)} twice")
        made[key] = value
    return made
