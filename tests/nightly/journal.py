"""Results that outlive the process: one JSON line each, in a file for one seed and one state of the sources."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "runs" / "nightly"
SHARED = ("flexit", "tests/fuzz", "tests/nightly/specs.py")
SOURCES = {
    "specs": SHARED,
    "rows": (*SHARED, "tests/nightly/frames.py", "tests/nightly/knobs.py", "tests/nightly/covering.py"),
    "pairs": (*SHARED, "tests/nightly/frames.py", "tests/nightly/knobs.py", "tests/nightly/pairs.py"),
}
"""What is tested and how, by part: results of other sources are not gone on with."""
FAULTS = ("disagrees", "mismatch", "crash")
Line = dict[str, Any]


def state(part: str) -> str:
    """The sources of a part as a short hash."""
    found = sha256()
    for source in SOURCES[part]:
        for path in sorted((ROOT / source).rglob("*.py")) or [ROOT / source]:
            found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:12]


def journals(seed: int, *, mended: bool = False) -> dict[str, Journal]:
    """Those of a run, by part.

    Args:
        seed: of the run.
        mended: begin with what the run found in earlier sources, if it was no fault; only faults are then run again.
    """
    found: dict[str, Journal] = {}
    for part in SOURCES:
        path = RUNS / str(seed) / f"{part}-{state(part)}.jsonl"
        before = sorted(path.parent.glob(f"{part}-*.jsonl"), key=lambda file: file.stat().st_mtime)
        old = [*Journal(before[-1]).results.values()] if mended and before else []
        if old and not path.exists():
            kept = [json.dumps(line, separators=(",", ":")) + "\n" for line in old if not is_fault(line)]
            path.write_text("".join(kept), encoding="utf-8")
        found[part] = Journal(path)
        found[part].again = [line for line in old if line["key"] not in found[part].results]
    return found


def is_fault(line: Line) -> bool:
    """Whether a result says that something is wrong with flexit or with the reference."""
    return line.get("outcome") in FAULTS or bool(line.get("wrong"))


@cache
def commit() -> str:
    """The last commit that changed flexit, and whether there are changes beside it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--", "flexit") else ""
    return f"{git('log', '-1', '--format=%h', '--abbrev=12', '--', 'flexit') or 'unknown'}{changed}"


class Journal:
    """A file of results by key. What was begun twice without a result ended the process both times.

    Attributes:
        again: results of earlier sources that were faults, and are to be found again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.again: list[Line] = []
        self.results: dict[str, Line] = {}
        self.begun: Counter[str] = Counter()
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in self._lines():
            if "begun" in line:
                self.begun[line["begun"]] += 1
            else:
                self.results[line["key"]] = line

    def _lines(self) -> Iterator[Line]:
        """The whole lines of the file; one that a kill cut short is dropped."""
        text = self.path.read_bytes() if self.path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            self.path.write_bytes(whole)
        yield from (json.loads(line) for line in whole.splitlines())

    def begin(self, key: str) -> bool:
        """Note that something begins; False if it has ended the process twice."""
        if self.begun[key] >= 2:
            return False
        self.begun[key] += 1
        self._append({"begun": key})
        return True

    def add(self, key: str, **result: Any) -> Line:
        """Note a result, and what made it."""
        line = {"key": key, "commit": commit(), **result}
        self.results[key] = line
        self._append(line)
        return line

    def _append(self, line: Line) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
