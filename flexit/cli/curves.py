"""Curves of runs in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flexit.runtime.runs.series import Curve, smoothed

MARKERS = ("braille", "o", "x", "+", "*", "#")
"""Of the curves, in their order."""


def drawn(curves: Sequence[Curve], *, by: str = "step", smooth: float = 0.0) -> str:
    """Curves in characters, each but the first with a mark of its own; at most as many as there are marks."""
    import plotext

    figure: Any = plotext.figure
    figure.clear()
    figure.plot_size(78, 18)
    figure.theme("clear")
    shown = curves[: len(MARKERS)]
    for marker, curve in zip(MARKERS, shown, strict=False):
        xs, ys = zip(*curve.points, strict=True)
        smooth_ys = smoothed(ys, smooth) if smooth and not curve.metric.startswith("validation_") else ys
        figure.draw(figure.signal(list(xs), list(smooth_ys), marker=marker))
    plain: Any = plotext.uncolorize
    names = [*_names(shown)]
    said = ", ".join(names[:1] + [f"{mark} {name}" for mark, name in zip(MARKERS[1:], names[1:], strict=False)])
    left = f" ({len(curves) - len(shown)} more are left out)" if len(curves) > len(shown) else ""
    unit = next(iter(units)) if len(units := {_unit(curve) for curve in shown}) == 1 else "values"
    return f"{str(plain(str(figure.build()))).rstrip()}\n  {unit}, by {by}: {said}{left}"


def _names(curves: Sequence[Curve]) -> list[str]:
    """What tells curves apart: the run, the metric, or both."""
    runs, metrics = {curve.run for curve in curves}, {curve.metric for curve in curves}
    if len(runs) == 1:
        words = {"loss": "training", "validation_loss": "validation"}
        return [words.get(curve.metric, curve.metric) for curve in curves]
    if len(metrics) == 1:
        return [curve.run for curve in curves]
    return [f"{curve.run} {curve.metric}" for curve in curves]


def _unit(curve: Curve) -> str:
    name = curve.metric.removeprefix("validation_")
    return f"{name} in {curve.unit}" if curve.unit else name
