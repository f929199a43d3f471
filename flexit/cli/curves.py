"""Curves of a run, in the terminal and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Curves = Mapping[str, Sequence[tuple[float, float]]]


def drawn(curves: Curves) -> str:
    """The loss by step in characters; the second curve is marked with o."""
    import plotext

    figure: Any = plotext.figure
    figure.clear()
    figure.plot_size(78, 18)
    figure.theme("clear")
    for marker, points in zip(("braille", "o"), curves.values(), strict=False):
        if points:
            figure.draw(figure.signal(*map(list, zip(*points, strict=True)), marker=marker))
    plain: Any = plotext.uncolorize
    legend = f"loss per token in nats, by step: {', o '.join(curves)}"
    return f"{str(plain(str(figure.build()))).rstrip()}\n  {legend}"


def pictured(curves: Curves, file: Path) -> Path:
    """The same as a picture."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, points in curves.items():
        if points:
            axes.plot(*zip(*points, strict=True), "o-" if len(points) < 20 else "-", label=name)
    axes.set(xlabel="step", ylabel="loss per token (nats)")
    axes.legend()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
    return file
