"""Runs a piece of Python in a process of its own and says what it took."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

WRAPPER = """
import json, resource, sys, time
from pathlib import Path
began = time.perf_counter()
exec(sys.argv[1])
wall = time.perf_counter() - began
status = Path("/proc/self/status")
if status.is_file():  # what getrusage says there includes the parent's memory at the fork
    peak = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"wall": wall, "peak": peak, "notes": globals().get("notes", {})}))
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds inside the process, its peak memory in bytes, and what the code put into ``notes``."""

    wall: float
    peak: int
    notes: dict[str, float]


def run(code: str, arguments: Sequence[str] = ()) -> Taken:
    """Run ``code``; it finds ``arguments`` in ``sys.argv[2:]``."""
    command = [sys.executable, "-c", WRAPPER, code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Taken(**json.loads(done.stdout.splitlines()[-1]))
