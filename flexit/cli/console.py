"""What the commands print with: text is shown as text, control characters escaped, colour only on a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from flexit.errors import Problem, UserError, printable

NARROWEST = 20
"""Columns that words are still wrapped in."""
HOLDING = "flexit-files-"
"""What temporary folders begin with in which the files of another library's checkpoint lie."""
HELD = re.compile(rf"[^\s'\"]*/{HOLDING}[^/\s]+/")
"""Such a folder in a message, where it tells a user nothing."""
PATIENCE = 2.0
"""Seconds that pass before it is shown how much is done."""
LINE_EVERY = 10.0
"""Seconds between two lines of it, where there is no terminal."""


def say(text: str = "", *, bold: bool = False) -> None:
    """A line on standard output."""
    with _named():
        typer.secho(printable(text), bold=bold or None, color=_colour())


def write(text: str) -> None:
    """A piece of a text on standard output, shown at once."""
    with _named():
        sys.stdout.write(printable(text))
        sys.stdout.flush()


@contextmanager
def _named() -> Iterator[None]:
    """Name standard output in what the system says when it refuses to write there."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise


def typed(path: str | Path) -> str:
    """A path as it can be typed into a shell."""
    return shlex.quote(str(path))


def near(path: Path) -> Path:
    """A path as seen from the current folder, if it lies in there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def complain(problems: Iterable[Problem]) -> None:
    """Problems on standard error, as the library words them."""
    for problem in problems:
        first, _, rest = HELD.sub("", str(problem)).partition("\n")
        typer.secho(first, err=True, fg="yellow" if problem.warning else "red", bold=True, color=_colour())
        typer.secho(rest, err=True, color=_colour())


def note(text: str) -> None:
    """A line on standard error that is no part of the result."""
    typer.secho(printable(text), err=True, dim=True, color=_colour())


def emit(data: Any) -> None:
    """Data as JSON on standard output."""
    say(json.dumps(data, indent=2))


@contextmanager
def answering(as_json: bool) -> Iterator[None]:
    """With ``--json`` what is wrong is data on standard output too.

    Raises:
        typer.Exit: 2, it was told.
    """
    try:
        yield
    except UserError as error:
        if not as_json:
            raise
        emit({"problems": [asdict(problem) for problem in error.problems]})
        raise typer.Exit(2) from None


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Rows in aligned columns, the first one the heading. On a terminal the words of the last column go on below
    themselves where they would leave it; elsewhere a row is a line.

    Args:
        rows: cells.
        right: columns aligned to the right.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    start = sum(widths[:-1]) + 2 * (len(widths) - 1)
    room = shutil.get_terminal_size().columns - start
    wraps = sys.stdout.isatty() and room >= NARROWEST and len(widths) - 1 not in right
    for index, row in enumerate(rows):
        lines = (textwrap.wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) if wraps else None) or [
            row[-1]
        ]
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip((*row[:-1], lines[0]), widths, strict=True))
        )
        say("  ".join(cells).rstrip(), bold=index == 0)
        for line in lines[1:]:
            say(" " * start + line)


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much is done, if it lasts over two seconds; what is given is called with that and how much there is."""
    from rich.console import Console
    from rich.text import Text

    console, began = Console(stderr=True), time.monotonic()
    status = console.status(Text(title)) if console.is_terminal else None
    told = began + PATIENCE - LINE_EVERY

    def show(done: int, total: int) -> None:
        nonlocal told
        text = f"{title}: {done:,} of {total:,}"
        if time.monotonic() - began < PATIENCE or done == total:
            return
        if status is not None:
            status.update(Text(text))
            status.start()
        elif time.monotonic() - told >= LINE_EVERY:
            told = time.monotonic()
            note(text)

    try:
        yield show
    finally:
        if status is not None:
            status.stop()


def _colour() -> bool | None:
    """False where the user or the terminal wants none, else None: only on a terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def plainly() -> None:
    """Make standard streams show what their encoding lacks as escapes instead of failing, and be there where closed."""
    if any(stream is None for stream in (sys.stdin, sys.stdout, sys.stderr)):
        _fill_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fill_closed() -> None:
    """Put the null device where a stream was closed, so that no file that is opened later takes its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, "w" if number else "r", encoding="utf-8")  # noqa: SIM115 (as long as the process)
            if stream.fileno() != number:
                os.dup2(stream.fileno(), number)
            setattr(sys, name, stream)
