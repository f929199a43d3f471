"""The application: its commands, and what becomes of errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

import flexit
from flexit.cli import comparing, converting, evaluating, finding, models, replaying, runs, specs, tasks, transferring
from flexit.cli.console import complain, note, plainly
from flexit.errors import FlexitError, Problem, UserError
from flexit.ir.wording import shown
from flexit.runtime.train.resources.launch import ProcessEnded

EPILOG = (
    "Exit codes: 0 well, 1 two results differ or a warning under --strict, 2 something to put right, "
    "130 interrupted or out of time."
)


class Commands(TyperGroup):
    """The commands; a value that an option does not take is told like everything else that can be put right."""

    def invoke(self, ctx: Any) -> Any:
        given = [*getattr(ctx, "_protected_args", ()), *ctx.args]
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if type(error) is not typer.BadParameter or error.param is None:  # one that is missing, say
                raise
            raise _bad_value(error, error.param.opts, given) from None


def _bad_value(error: typer.BadParameter, names: Sequence[str], given: Sequence[str]) -> UserError:
    """The error of an option with a value that it does not take, found among the arguments."""
    name = max(names, key=len)
    values = [value for option, value in zip(given, [*given[1:], ""], strict=True) if option in names]
    values += [
        argument.partition("=")[2] for argument in given if argument.partition("=")[0] in names and "=" in argument
    ]
    command = f"flexit {given[0]}" if given else "flexit"
    return UserError.of(
        "FX1111", "the option does not take this value", path=name,
        expected=error.message.removeprefix("Input should be ").partition(",")[0],
        found=shown(values[-1]) if values else "another value", cure=f"correct it; {command} --help lists the options",
    )  # fmt: skip


app = typer.Typer(
    name="flexit", cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False, epilog=EPILOG,
)  # fmt: skip
ROOMS = (specs, models, comparing, runs, replaying, tasks, converting, evaluating, finding, transferring)
NEED_ARGUMENTS = (*specs.NEED_ARGUMENTS, *runs.NEED_ARGUMENTS, *comparing.NEED_ARGUMENTS)
for command in (command for room in ROOMS for command in room.COMMANDS):
    name = command.__name__.rstrip("_").replace("_", "-")
    app.command(name, no_args_is_help=command in NEED_ARGUMENTS)(command)


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
        The exit code: 0 well, 1 results differ, 2 a mistake in the input, 130 interrupted, or without another process
        of the run.
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
    except ProcessEnded as error:
        note(str(error))
        return 130
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
