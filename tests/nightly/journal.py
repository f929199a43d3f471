"""Results that outlive the process: one JSON line each, in a file for one seed and one state of the sources."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
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
Line = dict[str, Any]


def state(part: str) -> str:
    """The sources of a part as a short hash."""
    found = sha256()
    for source in SOURCES[part]:
        for path in sorted((ROOT / source).rglob("*.py")) or [ROOT / source]:
            found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:12]


def journals(seed: int) -> dict[str, Journal]:
    """Those of a run, by part."""
    return {part: Journal(RUNS / str(seed) / f"{part}-{state(part)}.jsonl") for part in SOURCES}


class Journal:
    """A file of results by key. What was begun twice without a result ended the process both times."""

    def __init__(self, path: Path) -> None:
        self.path = path
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
        """Note a result."""
        line = {"key": key, **result}
        self.results[key] = line
        self._append(line)
        return line

    def _append(self, line: Line) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
