"""Real lines: of Python's standard library, of Portuguese tweets where a registry has them, and what both lack."""

from __future__ import annotations

import json
import os
from functools import cache
from itertools import islice
from pathlib import Path

from tests.registry import TWEETS

RARE: list[str] = json.loads(Path(__file__).with_name("rare_lines.json").read_text(encoding="utf-8"))


@cache
def written_lines(count: int) -> tuple[str, ...]:
    """Different lines of the standard library's sources, those that are not ASCII first, and rare ones."""
    files = sorted(Path(os.__file__).parent.rglob("*.py"))
    texts = (file.read_text(encoding="utf-8", errors="ignore") for file in files if "site-packages" not in file.parts)
    seen = dict.fromkeys(line for text in islice(texts, 1200) for line in text.split("\n") if line.strip())
    foreign = [line for line in seen if not line.isascii()]
    plain = [line for line in seen if line.isascii()]
    step = max(1, len(plain) // count)
    return tuple(RARE + (foreign[: count // 4] + plain[::step])[: count - len(RARE)])


@cache
def real_lines() -> tuple[str, ...]:
    """Over 10,000 lines: 2,500 of Portuguese tweets, the rest as ``written_lines``."""
    rows = TWEETS.path().read_text(encoding="utf-8").split("\n")[1:2501]
    lines = (*(row.partition(",")[2] for row in rows), *written_lines(8000))
    assert len(lines) >= 10_000
    return lines


def first_difference(ours: list[list[int]], theirs: list[list[int]], lines: tuple[str, ...]) -> str:
    """How many lines differ, and the first of them; nothing where none does."""
    assert len(ours) == len(theirs) == len(lines)
    bad = [row for row, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
    return f"{len(bad)} of {len(lines)}: {lines[bad[0]]!r}\n{ours[bad[0]]}\n{theirs[bad[0]]}" if bad else ""
