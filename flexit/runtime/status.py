"""What is being done, shown while it lasts: one line that changes on a terminal, elsewhere a line for each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from flexit.errors import printable


@contextmanager
def stages(title: str, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Show that something lasts.

    Args:
        title: the first stage.
        shown: whether anything is; otherwise all of it is silent.

    Yields:
        What is to be called with the name of each further stage.
    """
    console = Console(stderr=True, quiet=not shown)

    def line(stage: str) -> None:
        console.print(Text(printable(stage), style="dim"), soft_wrap=True)

    if not console.is_terminal:
        line(title)
        yield line
        return
    with console.status(Text(printable(title))) as status:
        yield lambda stage: status.update(Text(printable(stage)))
