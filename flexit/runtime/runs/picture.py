"""Curves as a picture: a panel for the losses and one for each other metric, a colour for each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexit.errors import UserError
from flexit.ir.wording import several
from flexit.runtime.runs.series import By, Curve, smoothed

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Told apart by the colour-blind (Okabe and Ito 2008), without the yellow, which white paper swallows."""
DASHES = ("-", "--", ":", "-.")
"""Of runs beyond the colours, a round of them each."""
MARKED = 60
"""Points up to which each has a mark."""
FAINT = 0.22
HELD_OUT = "validation_"
ENDINGS = (".png", ".svg", ".pdf")
AXES: Mapping[str, str] = {
    "step": "step (updates of the weights)", "tokens": "tokens (labels learned from)", "flops": "training FLOPs",
    "time": "training time (%s)",
}  # fmt: skip
WORDS: Mapping[str, str] = {
    "lr": "learning rate", "grad_norm": "norm of the gradient", "tokens": "tokens learned from",
}  # fmt: skip
PLANNED = ("lr", "tokens")
"""Metrics without noise, which are never smoothed."""
SECONDS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


@dataclass(frozen=True, slots=True)
class Look:
    """How curves are drawn.

    Attributes:
        by: what the horizontal axis is.
        smooth: share of the old mean in the smoothed curves; 0 draws them as they are.
        log: whether the vertical axes are logarithmic.
        title: over all of it.
    """

    by: By = "step"
    smooth: float = 0.0
    log: bool = False
    title: str = ""


def require_picture(file: Path) -> None:
    """Refuse a name that says no form of a picture.

    Raises:
        UserError: FX1112.
    """
    if file.suffix.lower() not in ENDINGS:
        raise UserError.of(
            "FX1112", f"{file} is no name of a picture", expected=f"a name that ends in {several(ENDINGS)}",
            found=file.suffix or "no ending", cure=f"write {file.with_suffix('.png')}", path=str(file),
        )  # fmt: skip


def pictured(curves: Sequence[Curve], file: Path, look: Look | None = None) -> Path:
    """Draw curves into a file, whose ending says the form.

    Raises:
        UserError: FX1112, no form of a picture; OSError, it cannot be written.
    """
    look = look or Look()
    require_picture(file)
    from matplotlib.ticker import EngFormatter

    panels = _panels(curves)
    with canvas(len(panels)) as (figure, axes):
        unit, scale = _unit(curves, look.by)
        colours = _styles(dict.fromkeys(curve.run for curve in curves))
        for place, (label, inside) in zip(axes, panels.items(), strict=True):
            several_metrics = len({curve.metric for curve in inside}) > 1
            for curve in inside:
                _draw(place, curve, look=look, style=colours[curve.run], scale=scale, apart=several_metrics)
            place.set_ylabel(label)
            if look.log:
                place.set_yscale("log")
        if look.by in ("tokens", "flops"):
            axes[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
        if look.by == "step":
            axes[-1].locator_params(axis="x", integer=True)
        axes[-1].set_xlabel(AXES[look.by] % unit if look.by == "time" else AXES[look.by])
        _legend(axes[0], curves, colours)
        if look.title:
            axes[0].set_title(look.title, loc="left", fontsize=11)
        figure.savefig(file, dpi=140)
    return file


@contextmanager
def canvas(
    panels: int, *, width: float = 7.6, height: float = 4.2, side_by_side: bool = False
) -> Iterator[tuple[Any, list[Any]]]:
    """A figure with panels, which is closed at the end; no display is needed.

    Args:
        panels: how many.
        width: of the figure in inches.
        height: of a figure with one panel, or with panels side by side.
        side_by_side: whether they are, and have axes of their own; otherwise they stand below each other on one axis.
    """
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    size = (width, height if panels == 1 or side_by_side else 1.0 + 2.6 * panels)
    rows, columns = (1, panels) if side_by_side else (panels, 1)
    figure, axes = pyplot.subplots(
        rows, columns, sharex=not side_by_side, squeeze=False, figsize=size, layout="constrained"
    )
    places = list(axes.flat)
    for place in places:
        place.spines[["top", "right"]].set_visible(False)
        place.grid(alpha=0.25, linewidth=0.6)
    try:
        yield figure, places
    finally:
        pyplot.close(figure)


def style(number: int) -> dict[str, Any]:
    """Colour and dashes of the run with a number."""
    rounds, colour = divmod(number, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": DASHES[rounds % len(DASHES)]}


def _styles(names: Mapping[str, None]) -> dict[str, dict[str, Any]]:
    return {name: style(number) for number, name in enumerate(names)}


def _panels(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Label of each panel, and what is drawn in it."""
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(_label(curve), []).append(curve)
    return found


def _label(curve: Curve) -> str:
    """What a metric is; training and held-out values of one stand in one panel."""
    name = curve.metric.removeprefix(HELD_OUT)
    return WORDS.get(name, name).replace("_", " ") + (f" ({curve.unit})" if curve.unit else "")


def _draw(place: Any, curve: Curve, *, look: Look, style: Mapping[str, Any], scale: float, apart: bool) -> None:
    """A curve; where it is smoothed, faint beneath as it is. Held-out values are marked and never smoothed."""
    held_out = curve.metric.startswith(HELD_OUT)
    xs = [x / scale for x, _ in curve.points]
    ys = [y for _, y in curve.points]
    drawn = ys
    if look.smooth and not held_out and curve.metric not in PLANNED:
        place.plot(xs, ys, color=style["color"], linewidth=0.9, alpha=FAINT)
        drawn = smoothed(ys, look.smooth)
    marks = {"marker": "o", "markersize": 4.5} if held_out and len(xs) <= MARKED else {}
    if held_out and apart:
        marks["markeredgecolor"] = "white"
    width = 1.7 if held_out or not apart else 1.2
    place.plot(xs, drawn, **{**style, **marks, "linewidth": width, "alpha": 1.0 if held_out or not apart else 0.75})


def _legend(place: Any, curves: Sequence[Curve], styles: Mapping[str, Mapping[str, Any]]) -> None:
    """A line for each run; what is training and what held out, where both are there."""
    from matplotlib.lines import Line2D

    named = [Line2D([], [], label=run, linewidth=1.8, **style) for run, style in styles.items()]
    metrics = {curve.metric for curve in curves}
    kinds = {metric.startswith(HELD_OUT) for metric in metrics}
    handles = named if len(styles) > 1 or len(kinds) < 2 else []
    if len(kinds) > 1:
        colour = "#555555" if len(styles) > 1 else next(iter(styles.values()))["color"]
        handles += [
            Line2D([], [], label="training", color=colour, linewidth=1.2, alpha=0.75),
            Line2D([], [], label="held out", color=colour, linewidth=1.7, marker="o", markersize=4.5),
        ]
    outside = len(handles) > 6
    place.legend(
        handles=handles, frameon=False, fontsize=8.5,
        **({"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if outside else {"loc": "best"}),
    )  # fmt: skip


def _unit(curves: Sequence[Curve], by: By) -> tuple[str, float]:
    """The unit of the horizontal axis, and how many of what is known it is."""
    if by != "time":
        return "", 1.0
    longest = max((x for curve in curves for x, _ in curve.points), default=0.0)
    return next(((name, size) for name, size in SECONDS if longest >= 2 * size), SECONDS[-1])
