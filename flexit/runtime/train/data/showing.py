"""How far the data is read and encoded, shown before a training begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID

from flexit.runtime.status import stages
from flexit.runtime.train.data.store import OnProgress


@contextmanager
def showing(progress: bool) -> Iterator[OnProgress | None]:
    """A bar for what comes before the training, or a line for each part of it."""
    console = Console(stderr=True)
    if not progress:
        yield None
        return
    if not console.is_terminal:
        with stages("reading the text") as stage:
            yield _by_stage(stage)
        return
    with Progress(console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {"reading the text": bar.add_task("reading the text", total=None)}

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total)

        yield on_progress


def _by_stage(stage: Callable[[str], None]) -> OnProgress:
    """What tells of each part once, when it begins."""
    told: set[str] = set()

    def on_progress(what: str, done: int, total: int) -> None:
        del done, total
        if what not in told:
            told.add(what)
            stage(what)

    return on_progress
