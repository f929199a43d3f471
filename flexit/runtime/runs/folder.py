"""What a run folder says of its run, read without PyTorch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from flexit.errors import CheckpointError, SpecError, UserError
from flexit.files.lock import holder_of
from flexit.ir.analysis.cost import count_parameters
from flexit.ir.compile import compile_spec
from flexit.ir.io.languages import RUN_CONFIG
from flexit.ir.io.load import load_spec
from flexit.ir.io.places import RUN, SPECS, found_at, instead_of, place_of
from flexit.ir.io.yaml import read
from flexit.ir.spec import Spec
from flexit.runtime.train.callbacks.metrics import read_lines
from flexit.runtime.train.saving.saved_steps import checkpoints, latest, step_of

CONFIG, METRICS, TIMING, ENVIRONMENT, COST = (
    "config.yaml", "metrics.jsonl", "timing.jsonl", "environment.json", "cost.json",
)  # fmt: skip
VALIDATION = "validation_loss"
State = Literal["running", "finished", "interrupted", "failed"]
Line = Mapping[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """A run, as its folder has it at the moment.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.resolve().name

    @cached_property
    def config(self) -> dict[str, Any]:
        """The run config as it was resolved; empty for a run that was put together in Python.

        Raises:
            CheckpointError: FX1201, it cannot be read.
        """
        file = self.path / CONFIG
        if not file.is_file():
            return {}
        try:
            return cast("dict[str, Any]", read(file.read_bytes(), str(file), wanted=RUN_CONFIG).plain())
        except (OSError, SpecError) as error:
            raise _damaged(file, "the run config of the run", error) from error

    @cached_property
    def spec(self) -> Spec | None:
        """The spec, as the run began with it or as its newest checkpoint has it; None where there is none.

        Raises:
            CheckpointError: FX1201, it cannot be read.
        """
        newest = checkpoints(self.path / "checkpoints")[-1:]
        files = [self.path / SPECS[1], *(folder / SPECS[0] for folder in newest)]
        file = next((each for each in files if each.is_file()), None)
        if file is None:
            return None
        try:
            return load_spec(file)
        except SpecError as error:
            raise _damaged(file, "the spec of the run", error) from error

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics."""
        return read_lines(self.path / METRICS)

    @cached_property
    def timing(self) -> list[dict[str, Any]]:
        """The lines of times."""
        return read_lines(self.path / TIMING)

    @cached_property
    def starts(self) -> list[dict[str, Any]]:
        """What is known of each start, oldest first.

        Raises:
            CheckpointError: FX1201, the file is damaged.
        """
        found = _json(self.path / ENVIRONMENT)
        return [] if found is None else [each for each in found.get("starts", []) if isinstance(each, dict)]

    @cached_property
    def cost(self) -> dict[str, Any]:
        """Parameters, FLOPs and memory; empty where nothing says them.

        Raises:
            CheckpointError: FX1201, the file is damaged.
        """
        return _json(self.path / COST) or {}

    @cached_property
    def parameters(self) -> int | None:
        """Trained numbers, if there is a spec."""
        if isinstance(self.cost.get("parameters"), int):
            return self.cost["parameters"]
        return None if self.spec is None else count_parameters(compile_spec(self.spec))

    @property
    def model(self) -> str:
        """The name of the spec."""
        return "" if self.spec is None else self.spec.name

    @property
    def task(self) -> str:
        """What is learned."""
        task = self.config.get("task", "")
        return str(task.get("kind", "") if isinstance(task, dict) else task)

    @property
    def steps(self) -> int | None:
        """Updates that the run config asks for."""
        found = self.config.get("steps")
        return found if isinstance(found, int) else None

    @property
    def step(self) -> int:
        """Updates made, as the metrics and the checkpoints tell."""
        saved = [step_of(path) for path in checkpoints(self.path / "checkpoints")[-1:]]
        return max([0, *saved, *(line["step"] for line in self.metrics[-1:])])

    @property
    def tokens(self) -> int:
        """Labels learned from."""
        return next((line["tokens"] for line in reversed(self.metrics) if "tokens" in line), 0)

    def last(self, key: str) -> float | None:
        """The last value of a metric that is a number."""
        return next((value for _, value in reversed(self.values(key))), None)

    def best(self, key: str) -> float | None:
        """The lowest value of a metric."""
        return min((value for _, value in self.values(key)), default=None)

    def values(self, key: str) -> list[tuple[int, float]]:
        """Step and value of each line that has a metric as a finite number."""
        return [(line["step"], float(line[key])) for line in self.metrics if _finite(line.get(key))]

    @property
    def state(self) -> State:
        """Running (somebody holds its lock), finished, failed, or interrupted: the same command goes on."""
        if holder_of(self.path.with_name(f"{self.path.name}.lock")) is not None:
            return "running"
        newest, last = latest(self.path / "checkpoints"), (self.starts or [{}])[-1]
        done = newest is not None and self.steps is not None and step_of(newest) >= self.steps
        if done or (newest is not None and last.get("outcome") == "finished"):  # early, or put together in Python
            return "finished"
        return "failed" if str(last.get("outcome") or "").startswith("failed") else "interrupted"

    @property
    def started(self) -> str | None:
        """When it was first started."""
        return self.starts[0].get("started") if self.starts else None

    @property
    def ended(self) -> str | None:
        """When it last ended by itself."""
        return self.starts[-1].get("ended") if self.starts else None


def run_at(path: str | Path) -> RunFolder:
    """The run in a folder.

    Raises:
        CheckpointError: FX1201, there is none.
    """
    if place_of(path) != "run":
        raise CheckpointError.of(
            "FX1201", f"{path} is no run", expected=f"a run folder, with {RUN}", found=found_at(path), path=str(path),
            cure=_instead(path),
        )  # fmt: skip
    return RunFolder(Path(path))


def runs_below(folder: str | Path) -> Iterator[RunFolder]:
    """The runs in a folder and below it, by name; links and hidden folders are not followed.

    Raises:
        UserError: FX0100, there is no such folder.
    """
    top = Path(folder)
    if not top.is_dir():
        raise UserError.of(
            "FX0100", f"{folder} is no folder", expected="a folder with runs below it", found=found_at(folder),
            cure="correct the path", path=str(folder),
        )  # fmt: skip
    waiting = [top]
    while waiting:
        place = waiting.pop()
        if place_of(place) == "run":
            yield RunFolder(place)
            continue
        inside = (entry for entry in place.iterdir() if entry.is_dir() and not entry.is_symlink())
        waiting += sorted((entry for entry in inside if not entry.name.startswith(".")), reverse=True)


def _instead(path: str | Path) -> str:
    top = Path(path)
    if top.is_dir() and next(runs_below(top), None) is not None:
        return "give one of the runs in it; flexit runs lists them"
    return instead_of(path, "run") or "give the folder that flexit train wrote, such as runs/tiny"


def _json(file: Path) -> dict[str, Any] | None:
    """A JSON object in a file; None where there is no file.

    Raises:
        CheckpointError: FX1201, the file holds something else.
    """
    if not file.is_file():
        return None
    try:
        found: object = json.loads(file.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, "a JSON object", error) from error
    return cast("dict[str, Any]", found)


def _damaged(file: Path, expected: str, error: Exception) -> CheckpointError:
    found = error.problems[0].message if isinstance(error, UserError) else str(error)
    return CheckpointError.of(
        "FX1201", f"{file} cannot be read", expected=expected, found=found, path=str(file),
        cure="start the run again, which writes it anew, or give another run",
    )  # fmt: skip


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
