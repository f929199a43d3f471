"""The command ``replay``: an update that was not finite, run once more from the files that a run kept of it."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from flexit.cli.console import answering, emit, near, say, table
from flexit.cli.specs import Json, Plugins, load_plugins, named
from flexit.runtime.status import stages


def replay(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder, or a folder in its failures.", callback=named)
    ],
    *,
    as_json: Json = False,
    plugins: Plugins = None,
) -> None:
    """Run once more the batch at which a loss or gradient was not finite: the first bad block, and figures of all.

    Ends with 1 where it is not what the run saw.

    Example: flexit replay runs/tiny
    """
    with stages("loading PyTorch"):
        from flexit.runtime.train.failures.replay import replay as run_again
        from flexit.runtime.train.failures.replay import rows

        load_plugins(plugins)
    with answering(as_json):
        done = run_again(run)
    if as_json:
        emit({
            "folder": str(done.folder), "step": done.step, "same": done.same,
            "first": None if done.first is None else done.first.data(),
            "micro_batches": {
                str(number): {
                    "losses": {name: _plain(value) for name, value in trace.losses.items()},
                    "outputs": [{"path": path, **numbers.data()} for path, numbers in trace.outputs],
                    "gradients": [{"path": path, **numbers.data()} for path, numbers in trace.gradients],
                }
                for number, trace in done.traces.items()
            },
        })  # fmt: skip
    else:
        say(f"step {done.step}, from {near(done.folder)}")
        for number, trace in done.traces.items():
            losses = ", ".join(f"{name} {value:.6g}" for name, value in trace.losses.items())
            say(f"micro-batch {number + 1}: {losses}")
            table(rows(trace), right=(1, 2, 3, 4, 5, 6))
        say(f"first bad: {done.first}" if done.first is not None else "all numbers are finite")
        say("as in the run" if done.same else "not as in the run: another machine, library or number of threads?")
    if not done.same:
        raise typer.Exit(1)


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


COMMANDS: tuple[Any, ...] = (replay,)
