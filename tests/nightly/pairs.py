"""All pairs of knob values through ``check``: each is accepted, or refused with codes that are explained and a cure."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.fuzz.legality import judge
from tests.fuzz.sample import check, codes
from tests.nightly.frames import FRAMES, Data, Frame
from tests.nightly.journal import ROOT, Journal
from tests.nightly.knobs import document, merged, settings


def run(journal: Journal, *, go_on: Callable[[], bool]) -> None:
    """Each setting with all that come after it, until ``go_on`` says no."""
    for frame in FRAMES:
        for index, setting in enumerate(settings(frame)):
            key = f"{frame.name} {setting}"
            if key not in journal.results:
                if not go_on():
                    return
                began = time.perf_counter()
                found = with_later(frame, index)
                journal.add(key, **found, seconds=round(time.perf_counter() - began, 2))


def with_later(frame: Frame, index: int) -> dict[str, Any]:
    """A setting alone and with all later ones: how many are accepted, refused with which codes, or cannot be written
    together, being two values of one choice; and what is wrong.
    """
    known = settings(frame)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for other in range(index, len(known)):
        parts = merged((known[index], known[other]))
        if parts is None:
            counts["exclusive"] += 1
            continue
        found = verdict(document(frame, parts))
        counts.update([*found[0]] or ["accepted"])
        counts["refused"] += bool(found[0])
        if found[1]:
            wrong.append(f"{known[index]} with {known[other]}: {found[1]}")
    return {"counts": dict(counts), "wrong": wrong}


def verdict(data: Data) -> tuple[set[str], str]:
    """Codes of a document, and what is wrong with the answer, if anything is."""
    try:
        result = check(data)
        found = codes(result)
    except Exception as error:
        return {"crash"}, f"{type(error).__name__}: {error}"
    if not judge(data).allows(found):
        return found, f"flexit {sorted(found)}, the reference {sorted(judge(data).codes)}"
    for problem in result.problems:
        if problem.code not in explained() or not (problem.cure and problem.expected and problem.found):
            return found, f"{problem.code} is not explained, or has no cure"
    return found, ""


@cache
def explained() -> frozenset[str]:
    """Codes with a section of their own in the page of errors."""
    return frozenset(re.findall(r"FX\d{4}", (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")))
