"""A compare file carried out: data encoded once, a process for each run, a table and a plot at the end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import flexit
from flexit.errors import UserError
from flexit.files.folder import HALF, locked, write_file
from flexit.files.ours import is_ours
from flexit.runtime.compare.jobs import Job, carry_out
from flexit.runtime.compare.plan import DATA, RUNS, Case, Comparison, plan
from flexit.runtime.compare.results import Outcome
from flexit.runtime.runs.folder import RunFolder
from flexit.runtime.train.describe import to_yaml
from flexit.runtime.train.resources.launch import require_alone
from flexit.runtime.train.resources.signals import interruptible
from flexit.runtime.train.run import absolute, make_plan, share

MARKER = "compare.json"
THREADS_EACH = 2
"""Threads that each run gets, where it is not said how many run at a time."""
TELL_EVERY = 20.0
"""Seconds between two lines about the runs that run."""
Say = Callable[[str], None]


def compare(
    path: str | Path, *, jobs: int | None = None, plugins: Sequence[str] = (), allow_memory: bool = False,
    say: Say = print,
) -> tuple[Comparison, list[Outcome]]:  # fmt: skip
    """Carry out a compare file, or what of it is left.

    Args:
        path: the file.
        jobs: runs at a time; by default as many as have two cores each.
        plugins: what the runs import first.
        allow_memory: start runs although the predicted memory is not there.
        say: told in a line what happens.

    Returns:
        What was planned, and what came of each case.

    Raises:
        UserError: anything in the tables of ``docs/compare.md`` and ``docs/run-config.md`` that is wrong before a run.
        KeyboardInterrupt: a signal came; the same call goes on.
    """
    require_alone("flexit compare")
    with interruptible():
        found = plan(path)
    out, at_once = found.out, jobs or _usual()
    with locked(out):
        _claim(out)
        begun = _jobs(found, at_once=at_once, plugins=plugins, allow_memory=allow_memory)
        left = [job for job in begun if not job.finished]
        if left:
            _share(found, left, say=say)
        if len(left) < len(begun):
            say(f"{len(begun) - len(left)} of {len(begun)} runs are finished already")
        failed = carry_out(left, at_once=at_once, told=_teller(begun, say), idle=_Watch(say))
    return found, outcomes(found, begun, failed)


def outcomes(found: Comparison, jobs: Sequence[Job], failed: Mapping[str, str]) -> list[Outcome]:
    """What came of each case, as its runs' results say."""
    gathered: list[Outcome] = []
    for case in found.cases:
        own = [job for job in jobs if job.case == case.name]
        results = {job.seed: result for job in own if job.finished and (result := job.read_result()) is not None}
        why = {job.seed: failed[job.name] for job in own if job.name in failed}
        left = [job.seed for job in own if job.seed not in results and job.seed not in why]
        gathered.append(Outcome(case, results, why, left))
    return gathered


def _usual() -> int:
    return max(1, torch.get_num_threads() // THREADS_EACH)


def _claim(out: Path) -> None:
    """Make the folder ours.

    Raises:
        UserError: FX1302, it holds something else.
    """
    holds = sorted(path.name for path in out.iterdir() if HALF not in path.name) if out.is_dir() else []
    if (holds and not is_ours(out, MARKER)) or (out.exists() and not out.is_dir()):
        raise UserError.of(
            "FX1302", f"{out} is no comparison", path="out", expected="a new or empty folder, or a comparison",
            found=", ".join(holds[:3]) or "a file", cure="choose another out",
        )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    if not holds:
        write_file(out / MARKER, json.dumps({"flexit": flexit.__version__, "threads": {}}))


def _jobs(found: Comparison, *, at_once: int, plugins: Sequence[str], allow_memory: bool) -> list[Job]:
    """Every run with its config written, which keeps the threads that it once had."""
    marker = json.loads((found.out / MARKER).read_bytes())
    threads: dict[str, int] = marker.get("threads", {})
    each = max(1, torch.get_num_threads() // at_once)  # of the cores of this process, or as OMP_NUM_THREADS says
    lengths = list(found.config.extrapolate)
    jobs: list[Job] = []
    for case in found.cases:
        for seed in found.config.seeds:
            place = found.out / RUNS / case.folder / f"seed-{seed}.yaml"
            name = f"{case.name} seed {seed}"
            count = case.config.threads or threads.setdefault(name, each)
            text = _config(case, found.base, out=place.with_suffix(""), seed=seed, threads=count)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_file() or place.read_text(encoding="utf-8") != text:
                write_file(place, text)
            arguments: dict[str, Any] = {
                "shared": str(found.out / DATA / case.rows), "lengths": lengths, "plugins": list(plugins),
                "allow_memory": allow_memory,
            }  # fmt: skip
            key = hashlib.sha256(json.dumps([text, lengths]).encode()).hexdigest()
            jobs.append(Job(name, case.name, seed, place, key, count, arguments))
    write_file(found.out / MARKER, json.dumps({"flexit": flexit.__version__, "threads": threads}, indent=1))
    return jobs


def _config(case: Case, base: Path, *, out: Path, seed: int, threads: int) -> str:
    settled = case.config.model_copy(update={"out": str(out), "seed": seed, "threads": threads, "limit": None})
    return to_yaml(absolute(settled, base))


def _share(found: Comparison, left: Sequence[Job], *, say: Say) -> None:
    """Encode the data of runs that are to come, once for all whose tables have as many rows."""
    for rows in dict.fromkeys(case.rows for case in found.cases):
        names = {case.name for case in found.cases if case.rows == rows}
        job = next((job for job in left if job.case in names), None)
        if job is not None:
            say("reading the data")
            made = make_plan(job.config, allow_memory=True)
            share(replace(made, shared=found.out / DATA / rows))


def _teller(jobs: Sequence[Job], say: Say) -> Callable[[Job, str], None]:
    def told(job: Job, what: str) -> None:
        done = sum(each.finished for each in jobs)
        if what == "begun":
            say(f"{job.name}: {'goes on' if (job.run / 'LATEST').is_file() else 'begins'}")
        elif what == "finished":
            loss = (job.read_result() or {}).get("metrics", {}).get("validation_loss")
            said = "" if loss is None else f", held-out loss {loss:.4f}"
            say(f"{job.name}: finished{said} ({done}/{len(jobs)})")
        else:
            say(f"{job.name}: {what}" + ("" if what == "interrupted" else f"; its log is {job.log}"))

    return told


class _Watch:
    """Tells now and then how far the runs are."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._last = time.monotonic()
        self._told = ""

    def __call__(self, running: Sequence[Job]) -> None:
        if time.monotonic() - self._last < TELL_EVERY or not running:
            return
        self._last = time.monotonic()
        runs = [(job, RunFolder(job.run)) for job in running]
        told = "; ".join(f"{job.name}: step {run.step:,}/{run.steps or '?'}" for job, run in runs)
        if told != self._told:
            self._say(told)
        self._told = told
