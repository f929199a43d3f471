"""A comparison as a picture: held-out loss by tokens, and by the length of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from flexit.runtime.compare.plan import RUNS, Comparison
from flexit.runtime.compare.results import Outcome, length_metric
from flexit.runtime.runs.folder import VALIDATION, RunFolder
from flexit.runtime.runs.picture import canvas, style
from flexit.runtime.runs.series import Point, known_curves

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SHADE = 0.15
ASIDE = 0.025
"""By how much curves stand beside each other where lengths are doubled, so that their bars can be told apart."""
STEEP = 5
"""Part of the points, the first of so many, that is left out of the picture where it is steep."""


def pictured(found: Comparison, outcomes: Sequence[Outcome], files: Sequence[Path]) -> list[Path]:
    """Draw a comparison into files, if any run of it has been looked at.

    Returns:
        Those written.
    """
    curves = {each.case.name: _curves(found, each) for each in outcomes}
    lengths = found.config.extrapolate
    if not any(curves.values()):
        return []
    from matplotlib.ticker import EngFormatter

    panels = 2 if lengths and any(each.results for each in outcomes) else 1
    with canvas(panels, width=7.6 if panels == 1 else 11.0, side_by_side=True) as (figure, axes):
        for number, (name, several) in enumerate(curves.items()):
            _by_tokens(axes[0], several, look=_look(number), label=name)
        axes[0].set(xlabel="tokens (labels learned from)", ylabel=_label(found))
        axes[0].xaxis.set_major_formatter(EngFormatter(sep=""))
        _cut_off(axes[0], curves)
        if panels == 2:
            _by_length(axes[1], found, outcomes)
        axes[-1].legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        for file in files:
            figure.savefig(file, dpi=140)
    return list(files)


def _look(number: int) -> dict[str, Any]:
    return {**style(number), "marker": MARKERS[number % len(MARKERS)]}


def _label(found: Comparison) -> str:
    unit = found.cases[0].config.task.unit
    seeds = len(found.config.seeds)
    return (
        "held-out loss" + (f" ({unit})" if unit else "") + (f",\nmean and range of {seeds} seeds" if seeds > 1 else "")
    )


def _curves(found: Comparison, outcome: Outcome) -> list[Sequence[Point]]:
    """The held-out loss by tokens, of each seed that has any."""
    folders = [RunFolder(found.out / RUNS / outcome.case.folder / f"seed-{seed}") for seed in found.config.seeds]
    return [curve.points for curve in known_curves(folders, [VALIDATION], by="tokens")]


def _by_tokens(place: Any, several: Sequence[Sequence[Point]], *, look: Mapping[str, Any], label: str) -> None:
    """The mean over seeds at the points that all of them have, and the range of them as a shade."""
    if not several:
        return
    values = [dict(points) for points in several]
    shared = sorted(set.intersection(*(set(each) for each in values)))
    if not shared:
        return
    at = [[each[x] for each in values] for x in shared]
    place.plot(shared, [fmean(ys) for ys in at], label=label, linewidth=1.6, markersize=4, **look)
    if len(values) > 1:
        low, high = [min(ys) for ys in at], [max(ys) for ys in at]
        place.fill_between(shared, low, high, color=look["color"], alpha=SHADE, linewidth=0)


def _cut_off(place: Any, curves: Mapping[str, Sequence[Sequence[Point]]]) -> None:
    """Leave the first steep part out where there are points enough: what is compared is the rest."""
    points = sorted(point for several in curves.values() for each in several for point in each)
    xs = sorted({x for x, _ in points})
    if len(xs) < 6:
        return
    first = xs[len(xs) // STEEP]
    later = [y for x, y in points if x >= first]
    low, high = min(y for _, y in points), max(later)
    place.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    place.set_xlim(first - 0.03 * (xs[-1] - first), xs[-1] + 0.03 * (xs[-1] - first))


def _by_length(place: Any, found: Comparison, outcomes: Sequence[Outcome]) -> None:
    """The held-out loss by the length of rows, with error bars of the deviation; it ends where a model cannot go on."""
    lengths, metric = sorted(found.config.extrapolate), length_metric(outcomes)
    trained = found.cases[0].config.data.seq_len
    for number, each in enumerate(outcomes):
        spreads = {length: each.spread("lengths", str(length), metric) for length in lengths}
        known = {length: spread for length, spread in spreads.items() if spread is not None}
        cut = next((length for length in lengths if each.cannot(length)), None)
        label = each.case.name if cut is None else f"{each.case.name} (cannot read {cut})"
        if known:
            bars = [spread.deviation or 0.0 for spread in known.values()]
            means = [spread.mean for spread in known.values()]
            aside = 2 ** (ASIDE * (number - (len(outcomes) - 1) / 2))
            place.errorbar(
                [length * aside for length in known], means, yerr=bars, label=label, linewidth=1.6, markersize=4.5,
                capsize=2.5, **_look(number),
            )  # fmt: skip
        else:
            place.plot([], [], label=label, **_look(number))
    place.axvline(trained, color="#777777", linewidth=0.9, linestyle=":")
    place.annotate(
        "trained", (trained, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -9), textcoords="offset points",
        fontsize=8, color="#555555",
    )  # fmt: skip
    place.set_xscale("log", base=2)
    place.set_xticks(lengths, [str(length) for length in lengths])
    place.minorticks_off()
    name = metric.removeprefix("validation_").replace("_", " ")
    spread = ",\nmean ± deviation" if len(found.config.seeds) > 1 else ""
    place.set(xlabel="tokens of a row at evaluation", ylabel=f"held-out {name}{spread}")
