"""Commands about weights that go into another model: ``transfer merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flexit.cli.console import answering, complain, counting, emit, say, table, typed
from flexit.cli.converting import Force, Out
from flexit.cli.specs import Json, Plugins, load_plugins, named
from flexit.errors import UserError
from flexit.runtime.status import stages

Pairs = Annotated[
    list[str] | None,
    typer.Option("--rename", metavar="OLD=NEW", help="Beginning of names that is another in B; may be given again."),
]


def transfer(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A run folder, a checkpoint, or what import takes.", callback=named)
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The new spec: a file or a preset.", callback=named)],
    out: Out,
    *,
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Another tokenizer.json: rows go with the tokens.", callback=None),
    ] = None,
    depth: Annotated[
        str | None, typer.Option(metavar="interleave|repeat|upscale", help="Which layer each layer begins as.")
    ] = None,
    added_layers: Annotated[
        str | None, typer.Option(metavar="identity|copy", help="Whether a layer that is copied adds nothing at first.")
    ] = None,
    width: Annotated[str | None, typer.Option(metavar="zero|duplicate", help="What wider matrices have.")] = None,
    new_tokens: Annotated[str | None, typer.Option(metavar="mean|draw", help="What rows of new tokens are.")] = None,
    rename: Pairs = None,
    new: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Parameters that are drawn anew; may be given again."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of what is drawn anew.")] = 0,
    same: Annotated[bool, typer.Option("--same", help="Refuse unless B computes what A does.")] = False,
    no_compare: Annotated[bool, typer.Option("--no-compare", help="Do not run both models to compare them.")] = False,
    force: Force = False,
    as_json: Json = False,
    plugins: Plugins = None,
) -> None:
    """Let the model of spec B begin with the weights of A, and say of each tensor what became of it.

    Example: flexit transfer runs/tiny deeper.yaml -o deeper --same
    """
    written = {"depth": depth, "added_layers": added_layers, "width": width, "new_tokens": new_tokens}
    options: dict[str, Any] = {key: value for key, value in written.items() if value is not None}
    options |= {"rename": dict(_pair(text) for text in rename or ()), "new": [{"match": text} for text in new or ()]}
    with answering(as_json):
        with stages("loading PyTorch") as stage:
            from flexit.runtime.transfer.transfer import options_of
            from flexit.runtime.transfer.transfer import transfer as carry_over

            chosen = options_of(options)
            load_plugins(plugins)
            stage("reading the models")
            result = carry_over(
                a, b, tokenizer=tokenizer, options=chosen, seed=seed, compared=not no_compare, same=same
            )  # fmt: skip
        with counting("writing bytes") as show:
            result.save(out, force=force, progress=show)
    complain(result.warnings)
    if as_json:
        emit(result.account())
        return
    table(result.table)
    say(result.summary)
    if result.compared is not None:
        say(result.compared.said)
    say(f"{out} written; train it with: model: {typed(Path(out))}")


def merge(
    adapter: Annotated[
        str, typer.Argument(metavar="CKPT", help="A run or checkpoint whose branches were trained.", callback=named)
    ],
    out: Out,
    *,
    base: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the weights are that they stand beside.")
    ] = None,
    force: Force = False,
) -> None:
    """Add the branches of LoRA to the weights that they stand beside, and write a checkpoint without branches.

    Example: flexit merge runs/tuned -o merged
    """
    from flexit.runtime.adapters.merging import merge_checkpoint

    with counting("writing bytes") as show:
        count = merge_checkpoint(adapter, out, base=base, force=force, progress=show)
    say(f"{out} written: {count} matrices have their branches in them")


def _pair(text: str) -> tuple[str, str]:
    before, is_pair, after = text.partition("=")
    if not (before and is_pair and after):
        raise UserError.of(
            "FX2205", "not a renaming", path="rename", expected="OLD=NEW", found=text or "an empty text",
            cure="write it as --rename encoder=decoder",
        )  # fmt: skip
    return before, after


COMMANDS: tuple[Any, ...] = (transfer, merge)
