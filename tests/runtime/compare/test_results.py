"""Means and deviations over seeds, and how they are put into tables and pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexit.runtime.compare import report
from flexit.runtime.compare.picture import pictured
from flexit.runtime.compare.plan import Comparison, plan
from flexit.runtime.compare.results import Outcome, Spread, length_metric
from tests.runtime.runs.folders import write_run

LOSSES = {0: 2.0, 1: 2.5, 2: 2.2}


def result(loss: float, **at_32: Any) -> dict[str, Any]:
    return {
        "step": 12, "tokens": 768, "metrics": {"loss": 2.0, "validation_loss": loss, "validation_accuracy": 0.5},
        "best": loss, "seconds": 90.0, "lengths": {"16": {"validation_loss": loss}, "32": at_32},
    }  # fmt: skip


@pytest.fixture
def compared(write_compare: Callable[..., Path]) -> tuple[Comparison, list[Outcome]]:
    found = plan(write_compare(variants="{a: {}, b: {}}", seeds="[0, 1, 2]", extrapolate="[16, 32]", match="{}"))
    whole = {seed: result(loss, validation_loss=loss + 1) for seed, loss in LOSSES.items()}
    cut = {0: result(3.0, cannot="its table of positions has 16 rows")}
    return found, [
        Outcome(found.cases[0], whole, {}, ()),
        Outcome(found.cases[1], cut, {1: "FX1701 not finite"}, (2,)),
    ]


def test_the_deviation_is_that_of_a_sample() -> None:
    values = (2.0, 2.5, 2.2)
    assert Spread(values).mean == pytest.approx(np.mean(values))
    assert Spread(values).deviation == pytest.approx(np.std(values, ddof=1))
    assert Spread((2.0,)).deviation is None


def test_the_table(compared: tuple[Comparison, list[Outcome]]) -> None:
    rows = report.table(*compared)
    mean, deviation = np.mean(list(LOSSES.values())), np.std(list(LOSSES.values()), ddof=1)
    one, other = (dict(zip(rows[0], row, strict=True)) for row in rows[1:])
    assert one["held-out loss"] == f"{mean:.4f} ± {deviation:.4f}"
    assert one["loss at 32"] == f"{mean + 1:.4f} ± {deviation:.4f}"
    assert (one["seeds"], one["accuracy"], one["time"], one["off"]) == ("3", "0.5000 ± 0.0000", "1:30", "+0.00 %")
    assert one["what is missing"] == ""
    assert (other["seeds"], other["held-out loss"]) == ("1", "3.0000")
    assert other["loss at 32"] == "cannot: table of positions has 16 rows"
    assert other["what is missing"] == "seed 1 failed: FX1701 not finite; seed 2 is not finished"


def test_lengths_are_compared_by_bits_per_byte_where_they_are_told(compared: tuple[Comparison, list[Outcome]]) -> None:
    assert length_metric(compared[1]) == "validation_loss"
    case = compared[0].cases[0]
    told = [Outcome(case, {0: result(2.0, validation_loss=2.0, validation_bits_per_byte=1.5)}, {}, ())]
    assert length_metric(told) == "validation_bits_per_byte"
    assert "bits per byte at 32" in report.table(compared[0], told)[0]


def test_the_files(compared: tuple[Comparison, list[Outcome]]) -> None:
    found, outcomes = compared
    found.out.mkdir()
    report.write_all(found, outcomes)
    lines = list(csv.DictReader((found.out / "results.csv").read_text().splitlines()))
    assert [(line["variant"], line["seed"], line["state"]) for line in lines] == [
        ("a", "0", "finished"), ("a", "1", "finished"), ("a", "2", "finished"),
        ("b", "0", "finished"), ("b", "1", "FX1701 not finite"), ("b", "2", "unfinished"),
    ]  # fmt: skip
    assert [line["validation_loss_at_32"] for line in lines] == ["3.0", "3.5", "3.2", "", "", ""]
    data = json.loads((found.out / "results.json").read_text())["variants"]
    assert data[0]["spread"]["validation_loss"] == {
        "mean": pytest.approx(2.2333333), "deviation": pytest.approx(np.std([2.0, 2.5, 2.2], ddof=1)), "n": 3,
    }  # fmt: skip
    text = (found.out / "results.md").read_text()
    assert text.startswith("| variant |") and len(text.splitlines()) == 6


def test_the_picture(compared: tuple[Comparison, list[Outcome]]) -> None:
    found, outcomes = compared
    for case, losses in zip(found.cases, ((3.0, 2.0), (3.5, 2.5)), strict=True):
        write_run(found.out / "runs" / case.folder / "seed-0", held_out=losses)
    (file,) = pictured(found, outcomes, [found.out / "results.svg"])
    svg = file.read_text()
    for text in (
        "held-out loss (nats per label),", "mean and range of 3 seeds", "tokens (labels learned from)", ">a<",
        "b (cannot read 32)", "tokens of a row at evaluation", "held-out loss,", "mean ± deviation", "trained",
    ):  # fmt: skip
        assert text in svg


def test_a_run_that_failed_before_its_tokens_were_told_is_left_out(
    compared: tuple[Comparison, list[Outcome]],
) -> None:
    found, outcomes = compared
    for case, losses in zip(found.cases, ((3.0, 2.0), ()), strict=True):
        write_run(found.out / "runs" / case.folder / "seed-0", losses=losses, held_out=(3.0, 2.0))
    (file,) = pictured(found, outcomes, [found.out / "results.svg"])
    assert ">a<" in file.read_text()


def test_without_a_run_there_is_no_picture(compared: tuple[Comparison, list[Outcome]]) -> None:
    found, outcomes = compared
    assert pictured(found, outcomes, [found.out / "results.svg"]) == []
