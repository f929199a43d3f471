"""Curves of runs: a metric by step, tokens, FLOPs or time, and smoothed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from pathlib import Path
from typing import Literal, get_args

from flexit.errors import UserError
from flexit.ir import registry
from flexit.ir.wording import nearest, several
from flexit.runtime.runs.folder import RunFolder
from flexit.runtime.train.task import Task

By = Literal["step", "tokens", "flops", "time"]
BYS: tuple[str, ...] = get_args(By)
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one run.

    Attributes:
        run: how the run is called.
        metric: such as ``validation_loss``.
        points: where, and the value.
        unit: of the values, where it is known.
    """

    run: str
    metric: str
    points: tuple[Point, ...]
    unit: str = ""


def curves_of(runs: Sequence[RunFolder], metrics: Sequence[str], *, by: By = "step") -> list[Curve]:
    """The curves of runs, those that a run does not have left out.

    Args:
        runs: whose.
        metrics: which.
        by: what they are drawn over.

    Raises:
        UserError: FX1112, no metric is named, no run has one of them, or one does not say where it is.
    """
    if not metrics:
        raise UserError.of(
            "FX1112", "no metric is named", path="--y", expected="metrics with commas between them", found="none",
            cure="write loss",
        )  # fmt: skip
    found = known_curves(runs, metrics, by=by)
    for metric in metrics:
        if not any(curve.metric == metric for curve in found):
            has = next((run for run in runs if run.values(metric)), None)
            raise _no_metric(runs, metric) if has is None else _no_axis(has, by, f"{by} of a step with {metric}")
    return found


def known_curves(runs: Sequence[RunFolder], metrics: Sequence[str], *, by: By = "step") -> list[Curve]:
    """The same, which may be none at all.

    Raises:
        UserError: FX1112, a run does not say where it is.
    """
    names = called([run.path for run in runs])
    return [
        Curve(name, metric, tuple(points), _unit(run, metric))
        for run, name in zip(runs, names, strict=True)
        for metric in metrics
        if (points := _points(run, metric, by))
    ]


def called(paths: Sequence[Path]) -> list[str]:
    """Short names of folders: their last parts, as many as tell them apart, without those that all share at the end."""
    parts = [path.resolve().parts for path in paths]
    if len(parts) < 2:
        return [each[-1] for each in parts]
    while all(len(each) > 1 for each in parts) and len({each[-1] for each in parts}) == 1 and len(set(parts)) > 1:
        parts = [each[:-1] for each in parts]
    depth = 1
    while len({each[-depth:] for each in parts}) < len(set(parts)):
        depth += 1
    return ["/".join(each[-depth:]) for each in parts]


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving mean without the pull of its start at zero: ``m_t / (1 - w^t)`` with
    ``m_t = w m_(t-1) + (1 - w) y_t`` (the correction of Kingma and Ba 2015, section 3, as TensorBoard draws it).

    Args:
        values: in order.
        weight: ``w``, the share of the old mean that stays, from 0 to below 1.
    """
    means = accumulate(values, lambda mean, value: weight * mean + (1 - weight) * value, initial=0.0)
    return [mean / (1 - weight**count) for count, mean in enumerate(means) if count]


def _unit(run: RunFolder, metric: str) -> str:
    """Of a loss, as its task says."""
    task = registry.find(Task, run.task) if metric.removeprefix("validation_") == "loss" else None
    return task.unit if task is not None and issubclass(task, Task) else ""


def _points(run: RunFolder, metric: str, by: By) -> list[Point]:
    values = run.values(metric)
    if by == "step" or not values:
        return [(float(step), value) for step, value in values]
    if by == "flops":
        each = run.cost.get("flops_per_update")
        if not isinstance(each, int | float):
            raise _no_axis(run, by, "cost.json, which flexit train writes")
        return [(float(step) * each, value) for step, value in values]
    return [(at, value) for step, value in values if (at := _between(_known(run, by), step)) is not None]


def _known(run: RunFolder, by: By) -> list[Point]:
    """Steps at which tokens or seconds are known, and these."""
    if by == "tokens":
        return [(0.0, 0.0), *((line["step"], float(line["tokens"])) for line in run.metrics if "tokens" in line)]
    lines = [line for line in run.timing if isinstance(line.get("seconds"), int | float)]
    if not lines:
        raise _no_axis(run, by, "times in timing.jsonl")
    seconds = accumulate(float(line["seconds"]) for line in lines)
    return [(0.0, 0.0), *((line["step"], total) for line, total in zip(lines, seconds, strict=True))]


def _between(known: Sequence[Point], step: float) -> float | None:
    """The value at a step, on the line between those around it; None outside of what is known."""
    after = bisect_left(known, (step, -inf))
    if after == len(known):
        return None
    (high, above), (low, below) = known[after], known[max(0, after - 1)]
    return above if high in (low, step) else below + (above - below) * (step - low) / (high - low)


def _no_metric(runs: Sequence[RunFolder], metric: str) -> UserError:
    known = sorted({key for run in runs for line in run.metrics for key in line if run.values(key)} - {"step"})
    near = nearest(metric, known)
    return UserError.of(
        "FX1112", "no run has this metric", path=metric, found=metric,
        expected=f"one of {several(known)}" if known else "a run that has logged something",
        cure=f"write {near}" if near else f"write {known[0]}" if known else "wait until the run has logged a line",
    )  # fmt: skip


def _no_axis(run: RunFolder, by: str, expected: str) -> UserError:
    return UserError.of(
        "FX1112", f"{run.path} does not say where it is by {by}", path=by, expected=expected, found="none",
        cure="draw it by step",
    )  # fmt: skip
