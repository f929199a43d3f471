"""Commands about specs: ``new check show diff cost kinds schema``. None of them imports torch or onnx."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from flexit.cli.console import answering, complain, emit, note, say, table, typed
from flexit.errors import UserError

MOST = 2**31 - 1


def named(given: str | list[str]) -> str | list[str]:
    """What an argument names, which may not be nothing: an empty path would mean the current folder.

    Raises:
        UserError: FX0100, it is empty.
    """
    if "" in ([given] if isinstance(given, str) else given):
        raise UserError.of(
            "FX0100", "an empty name", expected="a file, a folder or the name of a preset", found='""',
            cure="give a name, or . for the current folder",
        )  # fmt: skip
    return given


Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, such as blocks.decoder.n_layers=2.")
]
Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A bundle, a run folder, a checkpoint, or what import takes.", callback=named),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="NAME", help="Import an installed plugin by its namespace, or a module."),
]
MaxBytes = Annotated[
    int | None,
    typer.Option(metavar="BYTES", min=1, max=MOST, help="Refuse files above this size unread.", show_default="256 KiB"),
]
StateForm = Annotated[
    str | None,
    typer.Option(
        "--states", metavar="FORM", show_default="full",
        help="What decoding keeps: full, or compact, which is less where attention is latent.",
    ),
]  # fmt: skip
Seq = Annotated[list[str] | None, typer.Option(metavar="N or LENGTH=N", help="Tokens of each input, or of one.")]
As = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="FAMILY", help="Whose layers another library's checkpoint has: a family, or a mapping file."
    ),
]
SpecFile = Annotated[
    str, typer.Argument(metavar="SPEC", help="A YAML or JSON file, or the name of a preset.", callback=named)
]


def load_plugins(names: list[str] | None) -> None:
    """Import what ``--plugin`` names.

    Raises:
        UserError: FX1108, one of them cannot be imported.
    """
    from flexit.ir.plugins import load

    for name in dict.fromkeys(names or ()):
        load(name)


def new(
    preset: Annotated[str | None, typer.Argument(metavar="PRESET", help="Name of a preset.")] = None,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; PRESET.yaml in this folder by default.")
    ] = None,
    *,
    listed: Annotated[bool, typer.Option("--list", help="List the presets.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a preset to a file, to start from.

    Example: flexit new tiny-llama my-model.yaml
    """
    from flexit.cli.listing import preset_rows
    from flexit.ir.io.load import source_of

    if listed or preset is None:
        table(preset_rows())
        return
    data, name = source_of(preset)
    target = file or Path(Path(name).name)
    if target.is_dir():
        raise UserError.of(
            "FX1302", f"{target} will not be replaced", expected="the name of a file", found="a folder",
            cure=f"write {typed(target / Path(name).name)}",
        )  # fmt: skip
    if target.is_symlink():
        raise UserError.of(
            "FX1302", f"{target} will not be replaced", expected="a file, or a new name", found="a symbolic link",
            cure="give another file, or the one that the link leads to",
        )  # fmt: skip
    if target.exists() and not force:
        raise UserError.of(
            "FX1301", f"{target} exists already", expected="a new name", found="a file",
            cure="give another file, or --force to replace it",
        )  # fmt: skip
    target.write_bytes(data)
    say(f"{target} written; look at it with: flexit show {typed(target)}")


def check(
    paths: Annotated[
        list[str], typer.Argument(metavar="SPEC...", help="Files, folders or names of presets.", callback=named)
    ],
    *,
    sets: Sets = None,
    as_json: Json = False,
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False,
    max_bytes: MaxBytes = None,
    plugins: Plugins = None,
) -> None:
    """Check specs and list every problem with its place and its cure.

    Example: flexit check my-model.yaml specs/
    """
    from flexit.cli.checking import Examined, as_data, examine, files_in

    load_plugins(plugins)
    results: list[Examined] = []
    for file in [file for path in paths for file in files_in(path)]:
        result = examine(file, sets or (), max_bytes)
        if result.is_run_config and file not in paths:
            note(f"{file}: no spec but a run config or a compare file, which flexit train or compare checks")
            continue
        results.append(result)
        if not as_json:
            complain(result.problems)
            say(f"{result.file}: {result.verdict}")
    if as_json:
        emit({"valid": all(result.valid for result in results), "files": [as_data(result) for result in results]})
    if not all(result.valid for result in results):
        raise typer.Exit(2)
    if strict and any(result.problems for result in results):
        raise typer.Exit(1)


def show(
    spec: SpecFile,
    *,
    sets: Sets = None,
    program: Annotated[bool, typer.Option("--program", help="Show the primitive ops instead.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Draw the graph of blocks for Mermaid instead.")] = False,
    dot: Annotated[bool, typer.Option("--dot", help="Draw the graph of blocks for Graphviz instead.")] = False,
    family: As = None,
    plugins: Plugins = None,
) -> None:
    """Show the blocks with shapes, parameters and everything that was inferred; of a run folder, what the run is.

    Example: flexit show gpt2
    """
    from flexit.cli.checking import loaded
    from flexit.cli.listing import shown_as
    from flexit.cli.running import is_run, run_page
    from flexit.runtime.runs.folder import run_at

    if program + mermaid + dot > 1:
        raise UserError.of(
            "FX1110", "several forms at once", expected="one of --program, --mermaid and --dot", found="more than one",
            cure="write the command once for each",
        )  # fmt: skip
    load_plugins(plugins)
    if is_run(spec) and not (sets or program or mermaid or dot or family):
        for line in run_page(run_at(spec)):
            say(line)
        return
    form = "program" if program else "mermaid" if mermaid else "dot" if dot else "tree"
    say(shown_as(form, *loaded(spec, sets or (), family=family)))


def diff(
    before: SpecFile,
    after: SpecFile,
    *,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override in the second spec.")
    ] = None,
    as_json: Json = False,
    plugins: Plugins = None,
) -> None:
    """Compare two specs, fields, parameter shapes, cost, or two run folders. Exit code 1 if they differ.

    Example: flexit diff gpt2 gpt2 --set blocks.decoder.n_layers=24
    """
    from flexit.cli.checking import loaded
    from flexit.cli.listing import difference_data, difference_rows
    from flexit.cli.running import change_rows, is_run, run_difference
    from flexit.ir.views.difference import difference
    from flexit.runtime.runs.folder import run_at

    load_plugins(plugins)
    if is_run(before) != is_run(after) and not sets:
        run_at(after if is_run(before) else before)
    if is_run(before) and is_run(after) and not sets:
        changes, found = run_difference(run_at(before), run_at(after))
    else:
        changes, found = [], difference(loaded(before, ())[0], loaded(after, sets or ())[0])
    different = bool(changes) or (found is not None and bool(found.fields))
    if as_json:
        config = {"config": [asdict(change) for change in changes]} if is_run(before) else {}
        emit(config | ({} if found is None else difference_data(found)))
    elif not different:
        say("no difference")
    else:
        rows = [*(change_rows(changes) if changes else []), *(difference_rows(found)[1:] if found is not None else [])]
        table([["what", "first", "second"], *rows])
        if found is not None and found.same_program and found.fields:
            say("\nBoth compute the same.")
    if different:
        raise typer.Exit(1)


def cost(
    spec: SpecFile,
    *,
    sets: Sets = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Sequences.")] = 1,
    seq: Seq = None,
    states: StateForm = None,
    as_json: Json = False,
    plugins: Plugins = None,
) -> None:
    """Count parameters, FLOPs, decoding state and memory, before anything is allocated.

    Example: flexit cost gpt2 --batch 8 --seq 512
    """
    from flexit.cli.checking import lengths, loaded
    from flexit.cli.listing import cost_data, cost_lines, cost_rows
    from flexit.ir.analysis.cost import cost as cost_of
    from flexit.ir.compile import compile_spec

    with answering(as_json):
        load_plugins(plugins)
        found, compiled = loaded(spec, sets or ())
        compiled = compiled if states is None else compile_spec(found, states=cast(Any, states))
        needs = cost_of(compiled, batch=batch, seq=lengths(seq or []))
    if as_json:
        emit(cost_data(needs))
        return
    for line in cost_lines(compiled, needs):
        say(line)
    say()
    table(cost_rows(needs), right=(1, 2, 3, 4))


def kinds(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="A kind, such as multi_head; all of them without.")
    ] = None,
    *,
    plugins: Plugins = None,
) -> None:
    """List the kinds of blocks, or explain every field of one.

    Example: flexit kinds multi_head
    """
    from flexit.cli.listing import explained, kind_rows

    load_plugins(plugins)
    if kind is None:
        table(kind_rows())
        say("\nflexit kinds KIND explains its fields.")
        return
    for line in explained(kind):
        say(line)


def schema(
    which: Annotated[str, typer.Argument(metavar="spec|run|compare", help="Which language.")] = "spec",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to this file.")] = None,
) -> None:
    """Print the JSON Schema of specs, run configs or compare files, for editors.

    Example: flexit schema spec --out flexit-spec.schema.json
    """
    from flexit.cli.listing import schema_text

    text = schema_text(which)
    if out is None:
        say(text.rstrip("\n"))
    else:
        out.write_text(text, encoding="utf-8")


COMMANDS: tuple[Any, ...] = (new, check, show, diff, cost, kinds, schema)
NEED_ARGUMENTS: tuple[Any, ...] = (check, show, diff, cost)
