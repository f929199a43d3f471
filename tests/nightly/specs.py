"""Generated specs: each is accepted and goes the whole way, or is refused as the reference says."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flexit.ir.spec import Spec
from tests.fuzz.generator import document
from tests.fuzz.legality import judge
from tests.fuzz.occurrences import written
from tests.fuzz.sample import check, codes
from tests.fuzz.whole_way import Wrong, whole_way
from tests.nightly.journal import Journal, Line

SPAN = 1_000_000
"""Seeds of documents that belong to one seed of a run."""


def run(journal: Journal, seed: int, wanted: int, *, go_on: Callable[[], bool]) -> None:
    """Documents one by one until ``wanted`` went the whole way, or until ``go_on`` says no."""
    done = sum(is_whole(line) for line in journal.results.values())
    number = seed * SPAN
    while done < wanted:
        key = str(number)
        if key not in journal.results:
            if not go_on():
                return
            done += is_whole(one(journal, key))
        number += 1


def run_again(journal: Journal) -> None:
    """The documents that were faults in earlier sources."""
    for line in journal.again:
        one(journal, line["key"])


def is_whole(line: Line) -> bool:
    """Whether a line says that a spec went the whole way."""
    return line["outcome"] in ("proven", "generated")


def one(journal: Journal, key: str) -> Line:
    """The result of the document of one seed."""
    if not journal.begin(key):
        return journal.add(key, outcome="crash", why="the process ended, twice", codes=[], names=[])
    began = time.perf_counter()
    data = document(int(key))
    told = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
    try:
        result = check(data)
        found = sorted(codes(result))
        agrees = judge(data).allows(set(found))
    except Exception as error:
        return journal.add(key, outcome="crash", why=f"check: {shown(error)}", codes=[], names=[], document=told)
    names = sorted(written(data)) if result.valid else []
    outcome, why = "refused", ""
    if not agrees:
        outcome, why = "disagrees", f"flexit {found}, the reference {sorted(judge(data).codes)}"
    elif result.spec is not None and result.valid:
        outcome, why = taken(result.spec)
    seconds = round(time.perf_counter() - began, 2)
    return journal.add(key, outcome=outcome, why=why, codes=found, names=names, document=told, seconds=seconds)


def taken(spec: Spec) -> tuple[str, str]:
    """The outcome of the whole way, and why."""
    with TemporaryDirectory() as folder:
        try:
            outcome = whole_way(spec, Path(folder) / "bundle")
        except Wrong as error:
            return "mismatch", str(error)
        except Exception as error:
            return "crash", shown(error)
    return outcome.word, outcome.why


def shown(error: BaseException) -> str:
    text: Any = str(error)
    return f"{type(error).__name__}: {text}"[:2000]
