"""Commands that read run folders: ``runs plot``. Neither imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from flexit.cli.console import answering, emit, near, note, say, table
from flexit.cli.specs import Json, named
from flexit.errors import UserError

FOLDER = "DIR"
LOSSES = "loss,validation_loss"


def runs(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A folder with runs below it.", callback=named)] = ".",
    *,
    sort: Annotated[
        str, typer.Option(metavar="COLUMN", help="Order: a column of the table, such as validation or -started.")
    ] = "run",
    as_json: Json = False,
) -> None:
    """List the runs below a folder: model, task, how far each is, losses, and whether it runs, ended or failed.

    Example: flexit runs runs --sort validation
    """
    from flexit.cli.running import COLUMNS, RIGHT, run_data, run_row, sorted_by
    from flexit.runtime.runs.folder import runs_below

    with answering(as_json):
        found = sorted_by([run_data(each, folder) for each in runs_below(folder)], sort)
    if as_json:
        emit({"runs": found})
    elif not found:
        say(f"no runs below {folder}; flexit train RUN makes one")
    else:
        table([list(COLUMNS), *(run_row(each) for each in found)], right=RIGHT)


def plot(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or folders with runs below.", callback=named)
    ],
    *,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help="A .png, .svg or .pdf; without it, drawn in the terminal."),
    ] = None,
    x: Annotated[str, typer.Option(metavar="step|tokens|flops|time", help="What to draw over.")] = "step",
    y: Annotated[str, typer.Option(metavar="METRIC,...", help="Metrics, as metrics.jsonl calls them.")] = LOSSES,
    smooth: Annotated[
        float, typer.Option(metavar="W", min=0.0, max=0.999, help="Share of the old mean in training curves.")
    ] = 0.0,
    log: Annotated[bool, typer.Option("--log", help="Logarithmic vertical axes.")] = False,
) -> None:
    """Draw the curves of one or many runs.

    Example: flexit plot runs/first runs/second -o curves.png --smooth 0.9
    """
    from flexit.cli.curves import drawn
    from flexit.runtime.runs.folder import run_at, runs_below
    from flexit.runtime.runs.picture import Look, pictured, require_picture
    from flexit.runtime.runs.series import BYS, curves_of

    if x not in BYS:
        raise UserError.of(
            "FX1112", "no such axis", path="--x", expected=f"one of {', '.join(BYS)}", found=x, cure="write step"
        )
    if out is not None:
        require_picture(Path(out))
    folders = []
    for path in runs:
        below = [] if Path(path, "run.json").is_file() or not Path(path).is_dir() else [*runs_below(path)]
        folders += below or [run_at(path)]
    metrics = [name for name in (part.strip() for part in y.split(",")) if name]
    if y == LOSSES and not any(run.values("validation_loss") for run in folders):
        metrics = ["loss"]
    curves = curves_of(folders, metrics, by=cast(Any, x))
    if out is None:
        say(drawn(curves, by=x, smooth=smooth))
        if log:
            note("--log is of pictures; give -o FILE.png")
        return
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    say(f"{near(pictured(curves, Path(out), Look(by=cast(Any, x), smooth=smooth, log=log)))} written")


COMMANDS: tuple[Any, ...] = (runs, plot)
NEED_ARGUMENTS: tuple[Any, ...] = (plot,)
