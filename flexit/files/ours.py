"""What flexit wrote and may therefore delete: folders whose marker lists every file in them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

FEW = 4
"""Names of others that are looked for; a message shows one less."""


def is_ours(folder: Path, marker: str) -> bool:
    """Whether ``folder`` is a real folder whose ``marker`` is a JSON object with a key ``flexit``."""
    return _marked(folder, marker) is not None


def strangers(folder: Path, marker: str) -> list[str]:
    """Names in a folder that its marker does not list, a few of them where there are many.

    A marker lists files under ``files``, by their path from the folder with ``/`` between the parts. It belongs to the
    folder itself, and so does every folder that a file of it lies in. A link to a folder is never ours.
    """
    data = _marked(folder, marker)
    listed = set[str]() if data is None else {marker, *_names(data.get("files"))}
    return sorted(islice(_unlisted(folder, listed, ""), FEW))


def _unlisted(folder: Path, listed: set[str], prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        name = f"{prefix}{entry.name}"
        if not entry.is_dir(follow_symlinks=False):
            if name not in listed:
                yield name
        elif any(file.startswith(f"{name}/") for file in listed):
            yield from _unlisted(Path(entry.path), listed, f"{name}/")
        else:
            yield f"{name}/"


def _names(files: object) -> Iterator[str]:
    if isinstance(files, dict | list):
        yield from (name for name in cast("list[object]", files) if isinstance(name, str))


def _marked(folder: Path, marker: str) -> dict[str, Any] | None:
    """What the marker says; None where there is none of ours."""
    path = folder / marker
    if folder.is_symlink() or path.is_symlink() or not path.is_file():
        return None
    try:
        data: object = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or "flexit" not in data:
        return None
    return cast("dict[str, Any]", data)
