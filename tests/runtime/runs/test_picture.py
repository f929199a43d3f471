"""Pictures of curves: axes with units, a colour for each run, raw curves faint beneath smoothed ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flexit.errors import UserError
from flexit.runtime.runs.folder import RunFolder
from flexit.runtime.runs.picture import COLOURS, FAINT, Look, pictured
from flexit.runtime.runs.series import curves_of
from tests.runtime.runs.folders import write_run

METRICS = ["loss", "validation_loss", "lr"]


@pytest.fixture
def runs(tmp_path: Path) -> list[RunFolder]:
    return [RunFolder(write_run(tmp_path / name, held_out=(2.5, 2.25))) for name in ("one", "two")]


def strokes(svg: str) -> list[tuple[str, float]]:
    """Colour and opacity of each curve of ours, in the order in which they are drawn."""
    found = re.findall(r'style="fill: none; stroke: (#[0-9a-f]{6});([^"]*)"', svg)
    ours = {colour.lower() for colour in COLOURS[:2]}
    opacities = [(colour, re.search(r"stroke-opacity: ([\d.]+)", rest)) for colour, rest in found if colour in ours]
    return [(colour, float(match[1]) if match else 1.0) for colour, match in opacities]


def test_axes_legend_and_colours(tmp_path: Path, runs: list[RunFolder]) -> None:
    file = pictured(curves_of(runs, METRICS, by="time"), tmp_path / "a.svg", Look(by="time"))
    svg = file.read_text()
    for text in ("loss (nats per label)", "learning rate", "training time (seconds)", ">one<", ">two<", "held out"):
        assert text in svg
    assert {colour for colour, _ in strokes(svg)} == {COLOURS[0].lower(), COLOURS[1].lower()}
    assert FAINT not in [opacity for _, opacity in strokes(svg)]


def test_the_raw_curve_is_faint_beneath_the_smoothed_one(tmp_path: Path, runs: list[RunFolder]) -> None:
    """Of training losses; neither of held-out ones nor of a learning rate, which has no noise."""
    svg = pictured(curves_of(runs[:1], METRICS), tmp_path / "a.svg", Look(smooth=0.9)).read_text()
    assert [opacity for _, opacity in strokes(svg)].count(FAINT) == 1


def test_losses_of_a_regression_are_no_nats(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path / "run", task="regression"))
    svg = pictured(curves_of([run], ["loss"]), tmp_path / "a.svg").read_text()
    assert ">loss<" in svg and "nats" not in svg


def test_a_png(tmp_path: Path, runs: list[RunFolder]) -> None:
    file = pictured(curves_of(runs, ["loss"], by="flops"), tmp_path / "a.png", Look(by="flops", log=True))
    assert file.read_bytes().startswith(b"\x89PNG")


def test_steps_are_whole_numbers(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path / "run", every=4))
    svg = pictured(curves_of([run], ["loss"]), tmp_path / "a.svg").read_text()
    assert ">5<" in svg and ">4.5<" not in svg


def test_another_ending(tmp_path: Path, runs: list[RunFolder]) -> None:
    with pytest.raises(UserError, match="no name of a picture"):
        pictured(curves_of(runs, ["loss"]), tmp_path / "a.txt")
