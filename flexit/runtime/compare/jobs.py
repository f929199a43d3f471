"""Runs as processes, some at a time: begun, told of, and ended together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexit.runtime.train.resources.signals import Signals

EVERY = 0.2
"""Seconds between two looks at the processes."""
TAIL = 3
"""Lines of a log that a failure is told by, where nothing better is known."""
Told = Callable[["Job", str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """One run.

    Attributes:
        name: of the case and the seed.
        case: name of the case.
        seed: of the run.
        config: file of the run config.
        key: what a result must be for.
        threads: of the processor.
        arguments: of the worker, beside these.
    """

    name: str
    case: str
    seed: int
    config: Path
    key: str
    threads: int
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.config.with_suffix("")

    @property
    def log(self) -> Path:
        """What the process prints."""
        return self.config.with_suffix(".log")

    @property
    def result(self) -> Path:
        """What comes of it."""
        return self.config.with_suffix(".json")

    def read_result(self) -> dict[str, Any] | None:
        """What came of it; None where nothing did, or of something else."""
        try:
            found = json.loads(self.result.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("key") == self.key else None

    @property
    def finished(self) -> bool:
        """Whether there is a result that is no failure."""
        found = self.read_result()
        return found is not None and "failed" not in found

    def begin(self) -> subprocess.Popen[bytes]:
        """Start the process. It is in a session of its own, so that a Ctrl-C reaches it through us alone."""
        self.result.unlink(missing_ok=True)
        given = {
            **self.arguments, "config": str(self.config), "result": str(self.result), "key": self.key,
            "parent": os.getpid(),
        }  # fmt: skip
        command = [sys.executable, "-m", "flexit.runtime.compare.worker", json.dumps(given)]
        environment = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    def failure(self, code: int) -> str:
        """Why it is not finished."""
        found = self.read_result()
        if found is not None and "failed" in found:
            return str(found["failed"])
        lines = [line.strip() for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        how = f"signal {-code}" if code < 0 else f"code {code}"
        return f"its process ended with {how}" + (f": {last[:200]}" if last and code > 0 else "")


def carry_out(
    jobs: Sequence[Job], *, at_once: int, told: Told, idle: Callable[[Sequence[Job]], None]
) -> dict[str, str]:
    """Run all jobs, so many at a time.

    Args:
        jobs: what to run.
        at_once: processes at a time.
        told: called with a job and what became of it: ``begun``, ``finished``, ``interrupted`` or why it failed.
        idle: called again and again with the jobs that run.

    Returns:
        Why jobs failed, by name. Those that a signal interrupted, or that were not begun, are not in it.

    Raises:
        KeyboardInterrupt: a signal came; all processes have ended after their step. A second one ends them at once.
    """
    waiting, running, failed = list(jobs), dict[str, tuple[Job, subprocess.Popen[bytes]]](), dict[str, str]()
    with Signals() as signals:
        asked = False
        try:
            while (waiting and not asked) or running:
                while waiting and not asked and len(running) < at_once:
                    job = waiting.pop(0)
                    running[job.name] = (job, job.begin())
                    told(job, "begun")
                time.sleep(EVERY)
                idle([job for job, _ in running.values()])
                if signals.received is not None and not asked:
                    asked = True
                    _end(running.values())
                for job, process in list(running.values()):
                    if process.poll() is not None:
                        del running[job.name]
                        _tell(job, process, asked=asked, told=told, failed=failed)
        finally:
            _end(running.values())
            for _, process in running.values():
                process.wait()
        if signals.received is not None:
            raise KeyboardInterrupt
    return failed


def _tell(job: Job, process: subprocess.Popen[bytes], *, asked: bool, told: Told, failed: dict[str, str]) -> None:
    if job.finished:
        told(job, "finished")
    elif asked:
        told(job, "interrupted")
    else:
        failed[job.name] = job.failure(process.returncode)
        told(job, failed[job.name])


def _end(running: Any) -> None:
    for _, process in running:
        if process.poll() is None:
            process.terminate()
