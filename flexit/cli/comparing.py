"""``compare``: several models, or one in several ways, trained alike and put into one table."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flexit.cli.console import answering, emit, near, note, say, table
from flexit.cli.models import LOADING, AllowMemory
from flexit.cli.specs import Json, Plugins, load_plugins, named
from flexit.runtime.status import stages
from flexit.runtime.train.resources.signals import interruptible

LEFT = ("variant", "what is missing")


def compare(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A compare file, as docs/compare.md describes it.", callback=named)
    ],
    *,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1024, help="Runs at a time.", show_default="one for each two threads"),
    ] = None,
    planned: Annotated[bool, typer.Option("--plan", help="Show what would be run, with sizes; run nothing.")] = False,
    allow_memory: AllowMemory = False,
    as_json: Json = False,
    plugins: Plugins = None,
) -> None:
    """Train several models alike, on the same data, tokens and seeds, and compare them; started again, it goes on.

    Example: flexit compare compare.yaml --jobs 2
    """
    from flexit.runtime.compare.read import read_compare

    with answering(as_json):
        load_plugins(plugins)
        read_compare(file)  # before what takes seconds to load
        if planned:
            _planned(file, as_json=as_json)
            return
        with interruptible(), stages(LOADING, shown=not as_json):
            from flexit.runtime.compare import report
            from flexit.runtime.compare.picture import pictured
            from flexit.runtime.compare.run import compare as carry_out
        try:
            found, outcomes = carry_out(file, jobs=jobs, plugins=plugins or (), allow_memory=allow_memory, say=note)
        except KeyboardInterrupt:
            note("interrupted; the same command goes on")
            raise typer.Exit(130) from None
    report.write_all(found, outcomes)
    pictures = pictured(found, outcomes, report.pictures(found.out))
    if as_json:
        emit({"variants": [each.data() for each in outcomes]})
    else:
        rows = report.table(found, outcomes)
        table(rows, right=[column for column, name in enumerate(rows[0]) if name not in LEFT])
        for line in report.notes(found):
            say(line)
        say(
            f"{near(found.out / 'results.md')}, .csv and .json written"
            + (f", {near(pictures[0])} drawn" if pictures else "")
        )
    if any(each.failures for each in outcomes):
        raise typer.Exit(1)


def _planned(file: str, *, as_json: bool) -> None:
    from flexit.ir.views.tree import short
    from flexit.runtime.compare.plan import plan

    found = plan(file)
    if as_json:
        names = ("name", "sets", "parameters", "flops")
        emit({"variants": [{name: getattr(case, name) for name in names} for case in found.cases]})
        return
    rows = [["variant", "parameters", "off", "FLOPs/token", "what differs"]]
    for case in found.cases:
        off = "" if case.sized is None else f"{100 * case.sized.gap:+.2f} %"
        rows.append([case.name, short(case.parameters), off, short(round(3 * case.flops)), " ".join(case.sets)])
    table(rows, right=(1, 2, 3))
    say(f"{len(found.cases) * len(found.config.seeds)} runs, in {near(found.out)}")


COMMANDS: tuple[Any, ...] = (compare,)
NEED_ARGUMENTS: tuple[Any, ...] = (compare,)
