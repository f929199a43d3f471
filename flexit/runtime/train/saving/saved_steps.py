"""The checkpoints of a run by name, told from the folder alone; what is in them is read elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

LATEST = "LATEST"
NAME = re.compile(r"step-(\d{6,})")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = [(int(match.group(1)), path) for path in folder.iterdir() if (match := NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found) if path.is_dir()]


def regular(folder: Path, every: int) -> list[Path]:
    """The checkpoints in a folder that a run makes in any case, oldest first: nobody asked for them."""
    return [path for path in checkpoints(folder) if step_of(path) % every == 0]


def step_of(path: Path) -> int:
    """The step that a checkpoint's name says."""
    return int(path.name.partition("-")[2])


def latest(folder: Path) -> Path | None:
    """The newest checkpoint in a folder, if ``LATEST`` names it: it was saved to the end."""
    newest = (checkpoints(folder) or [None])[-1]
    named = folder.parent / LATEST
    return newest if newest and named.is_file() and named.read_bytes() == f"{newest.name}\n".encode() else None
