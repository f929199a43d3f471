"""Curves of runs: over which axis, how smoothed, and what they are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexit.errors import UserError
from flexit.runtime.runs.folder import RunFolder
from flexit.runtime.runs.series import called, curves_of, smoothed
from tests.runtime.runs.folders import write_run


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9, 0.999])
def test_smoothing_is_the_weighted_mean_of_all_values_so_far(weight: float) -> None:
    """As pandas has it (``ewm(adjust=True)``): the value ``i`` steps ago weighs ``w^i``, and weights sum to one."""
    values = np.random.default_rng(0).normal(5, 1, 200)
    expected = [
        float(np.average(values[: end + 1], weights=weight ** np.arange(end, -1, -1.0))) for end in range(len(values))
    ]
    np.testing.assert_allclose(smoothed(list(values), weight), expected, rtol=1e-10)
    pandas = pytest.importorskip("pandas")
    np.testing.assert_allclose(
        smoothed(list(values), weight), pandas.Series(values).ewm(alpha=1 - weight, adjust=True).mean(), rtol=1e-10
    )


def test_smoothing_does_not_begin_at_zero() -> None:
    assert smoothed([4.0] * 5, 0.99) == pytest.approx([4.0] * 5)


def test_a_curve_by_each_axis(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path / "run", losses=(3.0, 2.0), held_out=(3.5, 2.5)))
    expected = {"step": (5, 10), "tokens": (40, 80), "flops": (500, 1000), "time": (2, 4)}
    for by, (one, two) in expected.items():
        loss, held_out = curves_of([run], ["loss", "validation_loss"], by=by)  # type: ignore[arg-type]
        assert loss.points == ((one, 3.0), (two, 2.0)), by
        assert held_out.points == ((one, 3.5), (two, 2.5)), by


def test_tokens_between_two_lines_are_on_the_line_between_them(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "validation_loss": 1.0}\n')
    (curve,) = curves_of([RunFolder(folder)], ["validation_loss"], by="tokens")
    assert curve.points == ((56.0, 1.0),)


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12, "loss": null}\n{"step": 14, "loss": NaN}\n{"step": 16, "loss": 1.0}\n')
    assert curves_of([RunFolder(folder)], ["loss"])[0].points == ((5, 3.0), (10, 2.0), (16, 1.0))


def test_runs_are_called_by_what_tells_them_apart() -> None:
    found = called([Path("/r/a/seed-0"), Path("/r/a/seed-1"), Path("/r/b/seed-0")])
    assert found == ["a/seed-0", "a/seed-1", "b/seed-0"]
    assert called([Path("/r/a/run"), Path("/r/b/run")]) == ["a", "b"]
    assert called([Path("/r/a")]) == ["a"]
    assert called([Path("/r/a"), Path("/r/a")]) == ["a", "a"]


def test_a_metric_that_no_run_has(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path / "run", held_out=(1.0,)))
    with pytest.raises(UserError, match="no run has this metric") as refused:
        curves_of([run], ["validation_los"])
    assert refused.value.code == "FX1112"
    assert refused.value.problems[0].cure == "write validation_loss"


def test_no_metric_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="FX1112 --y: no metric is named"):
        curves_of([RunFolder(write_run(tmp_path / "run"))], [])


def test_a_run_that_never_told_its_tokens(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path / "run", losses=(), held_out=(1.0,)))
    with pytest.raises(UserError, match=r"(?s)does not say where it is by tokens.*draw it by step"):
        curves_of([run], ["validation_loss"], by="tokens")


@pytest.mark.parametrize(("by", "file"), [("flops", "cost.json"), ("time", "timing.jsonl")])
def test_an_axis_that_a_run_does_not_know(tmp_path: Path, by: str, file: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / file).unlink()
    with pytest.raises(UserError, match=f"does not say where it is by {by}"):
        curves_of([RunFolder(folder)], ["loss"], by=by)  # type: ignore[arg-type]
