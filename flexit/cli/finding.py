"""``find-lr``: which learning rate a run config should have."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexit.cli.console import say, table
from flexit.cli.specs import Plugins, load_plugins, named
from flexit.errors import UserError
from flexit.files.folder import write_file
from flexit.runtime.status import stages
from flexit.runtime.train.resources.signals import interruptible

if TYPE_CHECKING:
    from flexit.runtime.train.rate_finder import Sweep

ROWS = 20
ENDINGS = (".csv", ".png", ".svg")


def find_lr(
    config: Annotated[str, typer.Argument(metavar="RUN", help="A run config.", callback=named)],
    *,
    low: Annotated[float, typer.Option(metavar="LR", help="First rate.")] = 1e-7,
    high: Annotated[float, typer.Option(metavar="LR", help="Last rate.")] = 1.0,
    steps: Annotated[int, typer.Option(metavar="N", help="Updates, at least 10.")] = 100,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write it all: .csv, or a picture, .png or .svg."),
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, such as batch.size=8.")
    ] = None,
    allow_memory: Annotated[
        bool, typer.Option("--allow-memory", help="Start although the predicted memory is not there.")
    ] = False,
    plugins: Plugins = None,
) -> None:
    """Let the learning rate grow from step to step, and propose the one where the loss falls fastest (Smith 2017).

    Model, optimizer and data are copies; nothing of the run folder is read or changed.

    Example: flexit find-lr run.yaml --out rates.png
    """
    if out is not None and Path(out).suffix not in ENDINGS:
        raise UserError.of(
            "FX2104", "not a name for a sweep", path="--out", expected=f"a file that ends in {', '.join(ENDINGS)}",
            found=out, cure="write rates.png",
        )  # fmt: skip
    with interruptible(), stages("loading PyTorch"):
        from flexit.runtime.train.rate_finder import find_rate

        load_plugins(plugins)
    sweep = find_rate(config, low=low, high=high, steps=steps, sets=sets or (), allow_memory=allow_memory)
    every = max(1, len(sweep.rates) // ROWS)
    rows = list(zip(sweep.rates, sweep.losses, sweep.smoothed, strict=True))[::every]
    table([("lr", "loss", "smoothed"), *((f"{a:.2e}", f"{b:.4f}", f"{c:.4f}") for a, b, c in rows)], right=(0, 1, 2))
    if sweep.ended:
        say(f"the loss blew up at {sweep.rates[-1]:.2e}")
    if sweep.proposed is None:
        say("the loss does not fall at any of these rates; try others with --low and --high")
    else:
        say(f"lowest at {sweep.lowest:.2e}; falls fastest at {sweep.proposed:.1e}, to write as optimizer.lr")
    if out is not None:
        write_file(Path(out), _written(sweep, Path(out).suffix))
        say(f"{out} written")


def _written(sweep: Sweep, ending: str) -> bytes:
    if ending == ".csv":
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(("lr", "loss", "smoothed"))
        writer.writerows(zip(sweep.rates, sweep.losses, sweep.smoothed, strict=True))
        return text.getvalue().encode()
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot(sweep.rates, sweep.losses, alpha=0.3, label="loss")
    axes.plot(sweep.rates, sweep.smoothed, label="smoothed")
    if sweep.proposed is not None:
        axes.axvline(sweep.proposed, linestyle=":", color="gray", label=f"proposed, {sweep.proposed:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.legend()
    data = io.BytesIO()
    figure.savefig(data, format=ending[1:], dpi=120)
    pyplot.close(figure)
    return data.getvalue()


COMMANDS: tuple[Any, ...] = (find_lr,)
