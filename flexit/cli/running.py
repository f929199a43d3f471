"""Run folders as the commands tell them: a row of a table, a page, what two differ in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from flexit.cli.console import typed
from flexit.errors import UserError
from flexit.ir.analysis.cost import cost
from flexit.ir.compile import compile_spec
from flexit.ir.io.flow import flow
from flexit.ir.io.places import place_of
from flexit.ir.views.difference import ABSENT, Change, Difference, difference
from flexit.ir.views.tree import short, size, summary
from flexit.ir.wording import nearest, shown
from flexit.runtime.runs.folder import CONFIG, VALIDATION, RunFolder
from flexit.runtime.train.saving.saved_steps import checkpoints

COLUMNS = (
    "run", "model", "task", "parameters", "step", "tokens", "loss", "validation", "best", "state", "started",
)  # fmt: skip
RIGHT = (3, 4, 5, 6, 7, 8)
GIBI = 2**30


def run_data(run: RunFolder, folder: str | Path) -> dict[str, Any]:
    """A run as JSON data.

    Args:
        run: the run.
        folder: that its name is given from.
    """
    found: dict[str, Any] = {"run": os.path.relpath(run.path, folder)}
    if found["run"] == ".":
        found["run"] = run.name
    try:
        known = {"model": run.model, "task": run.task, "parameters": run.parameters, "steps": run.steps}
        known |= {"state": run.state, "started": run.started, "ended": run.ended}
    except UserError as error:  # one that is damaged hides no other
        known = {"model": "", "task": "", "parameters": None, "steps": None, "state": "unreadable", "started": None}
        known |= {"ended": None, "problem": error.problems[0].message}
    return found | known | {
        "step": run.step, "tokens": run.tokens, "loss": run.last("loss"), "validation": run.last(VALIDATION),
        "best": run.best(VALIDATION),
    }  # fmt: skip


def run_row(found: Mapping[str, Any]) -> list[str]:
    """A run as a row of the table."""
    of = "" if found["steps"] is None else f"/{found['steps']:,}"
    return [
        found["run"], found["model"], found["task"],
        "" if found["parameters"] is None else short(found["parameters"]),
        f"{found['step']:,}{of}", short(found["tokens"]), *(_number(found[k]) for k in ("loss", "validation", "best")),
        found["state"], _when(found["started"]),
    ]  # fmt: skip


def sorted_by(rows: Sequence[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Rows in the order of a column, from the highest on with a minus before it; what a run does not have comes last.

    Raises:
        UserError: FX1112, there is no such column.
    """
    name = column.removeprefix("-")
    if name not in COLUMNS:
        raise UserError.of(
            "FX1112", "no such column", path="--sort", expected=f"one of {', '.join(COLUMNS)}", found=shown(column),
            cure=f"write {nearest(name, COLUMNS) or 'run'}",
        )  # fmt: skip
    known = sorted((row for row in rows if row[name] is not None), key=lambda row: row[name])
    if column != name:
        known.reverse()
    return [*known, *(row for row in rows if row[name] is None)]


def run_page(run: RunFolder) -> Iterator[str]:
    """What a run is: state, spec, run config, what it was carried out with, cost, last metrics, checkpoints."""
    of = "" if run.steps is None else f" of {run.steps:,}"
    yield f"{run.path}: {run.state}, step {run.step:,}{of}, {run.tokens:,} tokens"
    if run.spec is not None:
        program = compile_spec(run.spec)
        yield from ("", *summary(program, cost(program)), f"the blocks: flexit show {typed(run.path / 'spec.yaml')}")
    if run.cost:
        update = short(int(run.cost["flops_per_update"]), space=True)
        yield f"an update {update}FLOP, memory about {size(run.cost['memory'])}"
    if run.config:
        yield from ("", "run config")
        for key, value in run.config.items():
            yield f"  {key}: {value if isinstance(value, str) else flow(value)}"
    if run.starts:
        yield ""
    for number, start in enumerate(run.starts, 1):
        yield from _start(number, start)
    yield from _last(run)
    saved = checkpoints(run.path / "checkpoints")
    yield from ("", f"checkpoints: {', '.join(path.name for path in saved) or 'none yet'}")


def _start(number: int, start: Mapping[str, Any]) -> Iterator[str]:
    how = start.get("outcome") or "no end is noted: it runs, or was killed"
    to = start.get("to_step")
    steps = f"from step {start.get('from_step', 0)}" + ("" if to is None else f" to {to}")
    yield f"start {number}: {_when(start.get('started'))}, {steps}, {how}"
    yield f"  {start.get('command', '')}"
    git, machine, versions = (start.get(key) or {} for key in ("git", "machine", "versions"))
    if git:
        changed = {True: " with changes", None: ", whether changed is not known"}.get(git.get("dirty"), "")
        yield f"  git {git.get('commit', '')[:12]}{changed}"
    if machine:
        memory = f"{machine.get('memory', 0) / GIBI:.0f} GiB"
        where = machine.get("gpu") or machine.get("device", "")
        parts = [f"{machine.get('cores', '?')} cores", memory, f"{machine.get('threads', '?')} threads", where]
        yield f"  {machine.get('host', '')}: {machine.get('processor', '')}, {', '.join(parts)}"
        yield f"  {machine.get('system', '')}"
    if versions:
        yield f"  {', '.join(f'{name} {value}' for name, value in versions.items() if value)}"


def _last(run: RunFolder) -> Iterator[str]:
    last: dict[str, tuple[int, Any]] = {}
    for line in run.metrics:
        last |= {key: (line["step"], value) for key, value in line.items() if key != "step"}
    if last:
        yield from ("", "last metrics")
    for key, (step, value) in last.items():
        yield f"  {key} {_number(value) if isinstance(value, float) else value} (step {step})"
    best = run.best(VALIDATION)
    if best is not None:
        yield f"  lowest {VALIDATION} {_number(best)}"


def is_run(path: str) -> bool:
    """Whether a path leads to a run of which more is there than its mark."""
    return place_of(path) == "run" and (Path(path, CONFIG).is_file() or bool(checkpoints(Path(path, "checkpoints"))))


def config_changes(before: RunFolder, after: RunFolder) -> list[Change]:
    """What the run configs of two runs differ in, but for the folders that they went to."""
    one, other = _flat(before.config), _flat(after.config)
    places = [key for key in dict.fromkeys((*one, *other)) if one.get(key, ABSENT) != other.get(key, ABSENT)]
    return [Change(key, _said(one, key), _said(other, key)) for key in places if key != "out"]


def run_difference(before: RunFolder, after: RunFolder) -> tuple[list[Change], Difference | None]:
    """What two runs differ in: run configs, and specs where both have one."""
    changes = config_changes(before, after)
    if before.spec is None or after.spec is None:
        return changes, None
    return changes, difference(before.spec, after.spec)


def change_rows(changes: Sequence[Change]) -> list[list[str]]:
    """Changes of run configs, as the rows that come before those of specs."""
    return [["run config:", "", ""], *([f"  {change.path}", change.before, change.after] for change in changes)]


def _said(data: Mapping[str, Any], key: str) -> str:
    return flow(data[key]) if key in data else ABSENT


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if 0.01 <= abs(value) < 10_000 or value == 0 else f"{value:.3g}"


def _when(iso: str | None) -> str:
    """A time of this machine's zone."""
    try:
        return "" if iso is None else f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M}"
    except (TypeError, ValueError):
        return str(iso)
