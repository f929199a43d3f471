"""Commands about other libraries' models: ``import convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flexit.cli.console import complain, counting, say, typed
from flexit.cli.specs import named
from flexit.errors import UserError

Force = Annotated[bool, typer.Option("--force", help="Replace a folder that is there.")]
Out = Annotated[str, typer.Option("--out", "-o", metavar="DIR", help="Folder that is written.", callback=named)]


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC", help="A folder with config.json, a .gguf file, or the id of a cached model.", callback=named
        ),
    ],
    out: Out,
    *,
    family: Annotated[
        str | None,
        typer.Option("--as", metavar="FAMILY", help="Whose layers it has: the name of a family, or a mapping file."),
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pytorch_model.bin, in a process without a network.")
    ] = False,
    force: Force = False,
) -> None:
    """Read another library's checkpoint as a spec and weights, with every tensor accounted for.

    Example: flexit import models/SmolLM2 -o models/smollm2
    """
    from flexit.convert.pretrained import from_pretrained
    from flexit.ir.analysis.cost import count_parameters
    from flexit.ir.compile import compile_spec
    from flexit.ir.views.tree import short

    model = from_pretrained(source, family=family, allow_pickle=allow_pickle)
    with counting("writing bytes") as show:
        warnings = model.save(out, force=force, progress=show)
    complain(warnings)
    formats = ", ".join(sorted({tensor.dtype.lower() for tensor in model.weights.values()}))
    say(f"{model.family}, {model.head}: {short(count_parameters(compile_spec(model.spec)))} parameters in {formats}")
    if model.files:
        say(f"with {', '.join(sorted(model.files))}")
    say(f"{out} written; look at it with: flexit show {typed(Path(out) / 'spec.yaml')}")


def convert(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run folder, a checkpoint, or what import takes.", callback=named)
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="PATH", help="Folder, or .gguf file, that is written.", callback=named)
    ],
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="hf|gguf", help="hf, for transformers, or gguf, for llama.cpp.")
    ] = "hf",
    family: Annotated[
        str | None, typer.Option("--as", metavar="FAMILY", help="The family to write; the first that fits without.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", metavar="f16|q8_0|bf16|f32", help="Of matrices in a .gguf file; f16 without."),
    ] = None,
    context: Annotated[
        int | None, typer.Option("--context", min=1, metavar="N", help="Longest row that a .gguf file names.")
    ] = None,
    force: Force = False,
) -> None:
    """Write a model as another library's checkpoint, which loads there without remote code.

    Example: flexit convert runs/tiny --to hf -o tiny-hf
    """
    from flexit.cli.opening import longest_at, weights_at
    from flexit.convert.gguf.writing import to_gguf
    from flexit.convert.pretrained import not_finite, noting
    from flexit.convert.to_pretrained import to_pretrained

    if to not in ("hf", "gguf"):
        raise UserError.of(
            "FX2004", "no such form", path="to", expected="hf or gguf", found=to, cure="write --to hf or --to gguf"
        )
    given = next((name for name, value in (("dtype", dtype), ("context", context)) if value is not None), None)
    if to == "hf" and given is not None:
        raise UserError.of(
            "FX2004", f"--{given} is of GGUF files", path=given, expected=f"no --{given}", found="--to hf",
            cure="leave it out, or write --to gguf",
        )  # fmt: skip
    spec, weights, files = weights_at(model)
    weights, bad = noting(weights)
    longest = context or longest_at(model)
    with counting("writing bytes") as show:
        if to == "hf":
            name = to_pretrained(
                spec, weights, out, family=family, files=files, context=longest, force=force, progress=show
            )
        else:
            name = to_gguf(
                spec, weights, out, dtype=dtype or "f16", family=family, files=files, context=longest, force=force,
                progress=show,
            )  # fmt: skip
    complain(not_finite(path) for path in dict.fromkeys(bad))
    say(f"{out} written: a {name}")


COMMANDS: tuple[Any, ...] = (import_, convert)
