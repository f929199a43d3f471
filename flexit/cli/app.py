"""The application: its commands, and what becomes of errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

import flexit
from flexit.cli import converting, evaluating, models, specs, tasks
from flexit.cli.console import complain, note, plainly
from flexit.errors import FlexitError, Problem, UserError

EPILOG = (
    "Exit codes: 0 well, 1 two results differ or a warning under --strict, 2 something to put right, 130 interrupted."
)

app = typer.Typer(
    name="flexit", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    epilog=EPILOG,
)  # fmt: skip
for command in (*specs.COMMANDS, *models.COMMANDS, *tasks.COMMANDS, *converting.COMMANDS, *evaluating.COMMANDS):
    name = command.__name__.rstrip("_").replace("_", "-")
    app.command(name, no_args_is_help=command in specs.NEED_ARGUMENTS)(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(flexit.__version__)
        raise typer.Exit


@app.callback()
def flexit_(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """One spec, one model, proven: a transformer written as YAML, trained in PyTorch, run in ONNX Runtime.

    Begin with: flexit new --list, flexit new tiny-llama, flexit check tiny-llama.yaml, flexit demo.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    plainly()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns:
        The exit code: 0 well, 1 results differ, 2 a mistake in the input, 130 interrupted.
    """
    try:
        app(args=list(arguments), prog_name="flexit")
    except SystemExit as leaving:
        if isinstance(getattr(leaving.__context__, "__cause__", None), KeyboardInterrupt):
            note("interrupted")
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except UserError as error:
        complain(error.problems)
        return 2
    except FlexitError as error:
        note(str(error))
        return 1
    except KeyboardInterrupt:
        note("interrupted")
        return 130
    except OSError as error:
        complain([refused(error)])
        return 2
    return 0


def refused(error: OSError) -> Problem:
    """What the operating system refused, in the form of every other problem."""
    return Problem(
        code="FX1304", path=str(error.filename or ""), message="the system refused",
        expected="a file that can be read, or a folder that can be written", found=error.strerror or str(error),
        cure="check the path, its permissions and the space on the disk",
    )  # fmt: skip
