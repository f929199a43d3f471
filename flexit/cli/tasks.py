"""Commands that run models on texts and measure them: ``embed classify fill-mask bench``. Imports are inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexit.cli.console import answering, counting, emit, say, table
from flexit.cli.specs import MOST, Json, Model, Plugins, load_plugins, named
from flexit.errors import UserError
from flexit.runtime.status import stages

if TYPE_CHECKING:
    from flexit.runtime.bench import Measured
    from flexit.runtime.tasks.classify import Classes
    from flexit.runtime.tasks.text_model import Text

Texts = Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="Texts, one row each.")]
File = Annotated[
    str | None, typer.Option("--file", metavar="FILE", help="Read a text from each line; - reads standard input.")
]
Jsonl = Annotated[
    bool,
    typer.Option(
        "--jsonl", help='Lines are JSON, as in FILE.jsonl: "a text", or ["first", "second"] for models of pairs.'
    ),
]
Output = Annotated[str | None, typer.Option("--output", metavar="NAME", help="The output of the model to take.")]
BatchSize = Annotated[int, typer.Option("--batch-size", metavar="N", min=1, max=MOST, help="Texts in one pass.")]
Truncate = Annotated[
    bool, typer.Option("--truncate", help="Cut texts that are longer than the model has positions.")
]  # fmt: skip
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]


def embed(
    model: Model,
    texts: Texts = None,
    *,
    file: File = None,
    jsonl: Jsonl = False,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE.npy", help="Write the vectors there; .npz with --tokens.")
    ] = None,
    as_json: Json = False,
    pool: Annotated[
        str | None, typer.Option(metavar="HOW", help="Pool hidden states: first, last, mean or max.")
    ] = None,
    dim: Annotated[int | None, typer.Option(metavar="N", help="Keep the first N numbers, and normalise.")] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Make every vector of length 1.")] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="The hidden states of each token instead.")] = False,
    output: Output = None,
    batch_size: BatchSize = 32,
    truncate: Truncate = False,
    force: Force = False,
    plugins: Plugins = None,
) -> None:  # fmt: skip
    """Turn texts into vectors, in ONNX Runtime from a bundle or in PyTorch from a checkpoint.

    Example: flexit embed bundles/sentences "a text" "another" --out vectors.npy
    """
    from flexit.cli.texts import require_out, text_model_at, texts_of, write_arrays
    from flexit.runtime.tasks.embed import embed as embedded
    from flexit.runtime.tasks.embed import hidden_states
    from flexit.runtime.tasks.text_model import Reading

    load_plugins(plugins)
    with answering(as_json):
        if tokens and (pool is not None or dim is not None or normalize):
            raise UserError.of(
                "FX1110", "--tokens gives hidden states as they are", path="--tokens", expected="no option for vectors",
                found="--pool, --dim or --normalize", cure="leave one or the other out",
            )  # fmt: skip
        require_out(out, ".npz" if tokens else ".npy", force=force)
        given = texts_of(texts or (), file, jsonl=jsonl)
        with stages(f"opening {model}"):
            reader = text_model_at(model)
        with counting("embedding") as progress:
            how = Reading(batch_size=batch_size, truncate=truncate, progress=progress)
            if tokens:
                found: Any = hidden_states(reader, given, how, output=output)
            else:
                found = embedded(reader, given, how, output=output, pool=pool, dim=dim, normalize=normalize)  # pyright: ignore[reportArgumentType]
        written = None if out is None else write_arrays(out, found)
    if as_json:
        emit({"vectors": [row.tolist() for row in found]})
    elif written is not None:
        say(written)
    else:
        for row in found:
            say("\n".join(" ".join(f"{number:.6g}" for number in line) for line in (row if tokens else [row])))
            if tokens:
                say()


def classify(
    model: Model,
    texts: Texts = None,
    *,
    file: File = None,
    jsonl: Jsonl = False,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE.npy", help="Write the scores there; .npz where each token has some."),
    ] = None,
    as_json: Json = False,
    scores: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="softmax (one class is right), sigmoid (each is or is not) or none.",
                     show_default="softmax; none for one class"),
    ] = None,
    output: Output = None,
    batch_size: BatchSize = 32,
    truncate: Truncate = False,
    force: Force = False,
    plugins: Plugins = None,
) -> None:  # fmt: skip
    """Score the classes of texts, of pairs of texts (rerankers) or of each token.

    Example: flexit classify bundles/mood "what a day" --json
    """
    from pathlib import Path

    from flexit.cli.texts import require_out, text_model_at, texts_of, write_arrays
    from flexit.runtime.tasks.classify import classify as classified
    from flexit.runtime.tasks.text_model import Reading

    load_plugins(plugins)
    with answering(as_json):
        require_out(out, ".npz" if out is not None and Path(out).suffix == ".npz" else ".npy", force=force)
        given = texts_of(texts or (), file, jsonl=jsonl)
        with stages(f"opening {model}"):
            reader = text_model_at(model)
        with counting("classifying") as progress:
            how = Reading(batch_size=batch_size, truncate=truncate, progress=progress)
            found = classified(reader, given, how, output=output, scores=scores)  # pyright: ignore[reportArgumentType]
        arrays = [each.scores for each in found]
        if out is not None and found[0].places is not None:
            require_out(out, ".npz", force=True)
        written = None if out is None else write_arrays(out, _together(out, arrays))
    if as_json:
        emit({"labels": list(found[0].labels), "results": [_classes_data(each) for each in found]})
    elif written is not None:
        say(written)
    else:
        for text, each in zip(given, found, strict=True):
            say(_classes_lines(text, each))


def fill_mask(
    model: Model,
    texts: Texts = None,
    *,
    file: File = None,
    jsonl: Jsonl = False,
    as_json: Json = False,
    top: Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Tokens for each mask.")] = 5,
    mask: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="What masks.", show_default="the tokenizer's, such as [MASK]")
    ] = None,
    output: Output = None,
    batch_size: BatchSize = 32,
    truncate: Truncate = False,
    plugins: Plugins = None,
) -> None:
    """Say which tokens a masked language model expects where a text has masks.

    Example: flexit fill-mask bundles/bert "Paris is the [MASK] of France."
    """
    from dataclasses import asdict

    from flexit.cli.texts import on_one_line, text_model_at, texts_of
    from flexit.runtime.tasks.fill_mask import fill_mask as filled
    from flexit.runtime.tasks.text_model import Reading

    load_plugins(plugins)
    with answering(as_json):
        given = texts_of(texts or (), file, jsonl=jsonl)
        with stages(f"opening {model}"):
            reader = text_model_at(model)
        with counting("filling masks") as progress:
            how = Reading(batch_size=batch_size, truncate=truncate, progress=progress)
            found = filled(reader, given, how, top=top, mask=mask, output=output)
    if as_json:
        emit({"results": [[[asdict(token) for token in slot] for slot in masks] for masks in found]})
        return
    for text, masks in zip(given, found, strict=True):
        say(on_one_line(text))
        for slot in masks:
            say("\n".join(f"  {token.score:.4f}\t{on_one_line(token.token)}" for token in slot) + "\n")


def bench(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder of a bundle.", callback=named)],
    *,
    batch: Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Rows at once.")] = 1,
    prompt: Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Tokens that are read at once.")] = 128,
    new: Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Tokens that follow one by one.")] = 32,
    repetitions: Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Of which the median counts.")] = 5,
    threads: Annotated[
        int, typer.Option(metavar="N", min=0, max=1024, help="Of one operator.", show_default="all cores")
    ] = 0,
    as_json: Json = False,
    plugins: Plugins = None,
) -> None:
    """Measure a bundle: milliseconds a token, tokens a second, memory; beside PyTorch where that is installed.

    Example: flexit bench bundles/tiny --batch 4 --prompt 256
    """
    from flexit.runtime.bench import Load, measure, sessions_on

    load_plugins(plugins)
    with answering(as_json):
        load = Load(batch=batch, prompt=prompt, new=new, repetitions=repetitions)
        with stages(f"opening {bundle}") as step:
            openers = sessions_on(bundle, threads=threads, progress=step)
        with counting("measuring") as progress:
            found = measure(openers, load, progress=progress)
    if as_json:
        emit({"batch": batch, "prompt": prompt, "new": new, "repetitions": repetitions,
              "sessions": [each.data() for each in found]})  # fmt: skip
    else:
        _show(found, f"{prompt} tokens at once, batch {batch}, median of {repetitions} (smallest to largest)")


def _show(found: list[Measured], title: str) -> None:
    decodes = found[0].decode is not None
    rows = [["session", "prefill, ms" if decodes else "run, ms", "tokens/s"]]
    rows[0] += (["ms per token", "tokens/s"] if decodes else []) + ["memory"]
    for each in found:
        cells = [each.session, str(each.prefill), f"{each.prefill.rate:,.0f}"]
        cells += [] if each.decode is None else [str(each.decode), f"{each.decode.rate:,.0f}"]
        rows.append([*cells, f"{each.memory / 1e6:,.0f} MB"])
    say(title)
    table(rows, right=range(1, len(rows[0])))


def _together(out: str, arrays: list[Any]) -> Any:
    """One array for a ``.npy``, where there is a row for each text; else one for each text."""
    if out.endswith(".npz"):
        return arrays
    import numpy as np

    return np.stack(arrays)


def _classes_data(found: Classes) -> dict[str, Any]:
    if found.places is None:
        return {"label": found.best[0], "scores": found.scores.tolist()}
    return {
        "tokens": [
            {"token": place.text, "start": place.start, "end": place.end, "second": place.second, "label": label,
             "scores": scores.tolist()}
            for place, label, scores in zip(found.places, found.best, found.scores, strict=True)
        ]
    }  # fmt: skip


def _classes_lines(text: Text, found: Classes) -> str:
    """``label TAB score TAB text``; for scores of tokens a line for each, and an empty one."""
    from flexit.cli.texts import on_one_line

    if found.places is None:
        return f"{found.best[0]}\t{found.scores.max():.4f}\t{on_one_line(text)}"
    lines = [
        f"{label}\t{scores.max():.4f}\t{on_one_line(place.text)}"
        for place, label, scores in zip(found.places, found.best, found.scores, strict=True)
    ]
    return "\n".join([*lines, ""])


COMMANDS: tuple[Any, ...] = (embed, classify, fill_mask, bench)
