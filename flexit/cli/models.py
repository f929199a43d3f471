"""Commands about models: ``train export verify generate demo``. Heavy libraries are imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from flexit.cli.console import answering, complain, emit, near, say, table
from flexit.cli.specs import As, Json, Model, Plugins, Sets, StateForm, load_plugins, named
from flexit.runtime.status import stages
from flexit.runtime.train.resources.launch import launched, one_voice
from flexit.runtime.train.resources.signals import interruptible

AllowMemory = Annotated[bool, typer.Option("--allow-memory", help="Start although the predicted memory is not there.")]
Prompts = Annotated[
    list[str] | None, typer.Option("--prompt", "-p", metavar="TEXT", help="Text to continue; may be given again.")
]
Chat = Annotated[
    bool, typer.Option("--chat", help="Answer as the model's chat template has it: the prompt, or line after line.")
]
System = Annotated[str | None, typer.Option(metavar="TEXT", help="Of a chat: what the model is told first.")]
LOADING = "loading PyTorch"
Source = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A run folder, a checkpoint, a spec, a preset, or what import takes.", callback=named
    ),
]


@one_voice()
def train(
    config: Annotated[
        str, typer.Argument(metavar="RUN", help="A run config, as docs/run-config.md describes it.", callback=named)
    ],
    *,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, such as steps=200.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Refuse to go on with a run that is there.")] = False,
    allow_changed: Annotated[bool, typer.Option("--allow-changed", help="Go on although the run has changed.")] = False,
    allow_memory: AllowMemory = False,
    allow_disk: Annotated[
        bool, typer.Option("--allow-disk", help="Start although the disk has no room for what is predicted.")
    ] = False,
    plugins: Plugins = None,
) -> None:
    """Train as a run config says; started again, it goes on where it stopped.

    Example: flexit train run.yaml --set steps=200
    """
    from flexit.runtime.train.read import read_config

    leads = launched().rank == 0
    read_config(config, sets=sets or ())  # before what takes seconds to load
    with interruptible(), stages(LOADING, shown=leads):
        from flexit.runtime.train.run import train as carry_out

        load_plugins(plugins)
    result = carry_out(
        config, resume=not new, allow_changed=allow_changed, allow_memory=allow_memory, allow_disk=allow_disk,
        sets=sets or (),
    )  # fmt: skip
    if not leads:  # the first process tells it, and has the exit code
        return
    held_out = "" if result.validation_loss is None else f", validation loss {result.validation_loss:.3f}"
    loss = "" if result.loss is None else f", loss of the last update {result.loss:.3f}"
    say(f"step {result.step}, {result.tokens:,} tokens{loss}{held_out}")
    if result.checkpoint is not None:
        say(f"checkpoint {near(result.checkpoint)}")
    if result.early:
        say("it got no better, so it ended before its last step")
    if result.stopped_by is not None:
        say(f"stopped by {result.stopped_by}; the same command goes on")
        raise typer.Exit(130)


def export(
    model: Source,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder of the bundle.", callback=named)],
    *,
    sets: Sets = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of the proof's inputs; of the weights where there are none.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
    states: StateForm = None,
    carry: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Goes into the bundle too: tokenizer.json, generation_config.json, labels.json, chat_template.jinja "
            "or special_tokens_map.json.",
        ),
    ] = None,
    family: As = None,
    allow_memory: AllowMemory = False,
    plugins: Plugins = None,
) -> None:
    """Write a model as ONNX, prove it equal to PyTorch, and keep the evidence with it.

    Example: flexit export runs/tiny bundles/tiny
    """
    from flexit.files.folder import require_replaceable
    from flexit.ir.io.places import MANIFEST
    from flexit.runtime.bundles.carrying import carriable

    carriable(carry or ())  # before what takes seconds to load
    require_replaceable(out, marker=MANIFEST, force=force)
    with stages(LOADING) as step:
        from flexit.cli.generating import next_step
        from flexit.cli.opening import evidence_rows, exportable
        from flexit.convert.pretrained import Pretrained
        from flexit.runtime.bundles.export import export as prove

        load_plugins(plugins)
        step("reading the model")
        source = exportable(model, sets or (), seed=seed, allow_memory=allow_memory, family=family)
        complain(source.warnings if isinstance(source, Pretrained) else ())
        bundle = prove(
            source, out, force=force, seed=seed, progress=step, allow_memory=allow_memory, states=cast(Any, states),
            carry=carry or (),
        )  # fmt: skip
    table(evidence_rows(bundle.manifest), right=(2, 3, 4))
    say(f"{out} written; {next_step(bundle, out)}")


def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder of a bundle.", callback=named)],
    *,
    as_json: Json = False,
) -> None:
    """Replay a bundle's own inputs on this machine, without torch, and compare with what PyTorch gave.

    Example: flexit verify bundles/tiny
    """
    with answering(as_json), stages("replaying"):
        from flexit.runtime.bundles.verify import verify as replay

        verdict = replay(bundle)
    if as_json:
        emit({"holds": verdict.holds, "error": verdict.error, "tolerance": verdict.tolerance})
    else:
        word = "holds" if verdict.holds else "does not hold"
        say(f"{bundle}: {word} here, largest relative error {verdict.error:.1e} (tolerance {verdict.tolerance:.0e})")
    if not verdict.holds:
        raise typer.Exit(1)


def generate(
    model: Model,
    *,
    prompt: Prompts = None,
    chat: Chat = False,
    system: System = None,
    source: Annotated[str | None, typer.Option(metavar="TEXT", help="Text that an encoder reads.")] = None,
    max_new_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Most new tokens.")] = 100,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="Draw; lower is safer, 0 takes the best token each time.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(metavar="K", help="Draw from the K best tokens alone.")] = None,
    top_p: Annotated[
        float | None, typer.Option(metavar="P", help="Draw from the best tokens that have probability P together.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(metavar="P", help="Draw from tokens at least P times as probable as the best.")
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(metavar="X", help="Above 1, tokens that are there already become less likely.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="End before this text; may be given again.")
    ] = None,
    beams: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Search for the best text, following N at once.")
    ] = None,
    length_penalty: Annotated[
        float | None, typer.Option(metavar="X", help="Of a beam search: above 1, longer texts win more often.")
    ] = None,
    n_best: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of a beam search: print the N best texts with scores.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the draws.")] = 0,
    family: As = None,
    plugins: Plugins = None,
) -> None:
    """Continue a text, in ONNX Runtime from a bundle or in PyTorch from a checkpoint.

    What is not said is as the model's generation_config.json has it, else the best token each time.

    With --chat each prompt is a question; without one the questions are read line by line, until Ctrl-D.

    Example: flexit generate bundles/tiny --prompt "def main" --temperature 0.8 --top-p 0.9
    """
    from flexit.cli import chatting
    from flexit.cli.choosing import Choosing
    from flexit.cli.generating import Request, run

    load_plugins(plugins)
    choosing = Choosing(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty,
        seed=seed, beams=beams, length_penalty=length_penalty, n_best=n_best, stop=tuple(stop or ()),
    )  # fmt: skip
    request = Request(prompts=prompt or [""], source=source, max_new_tokens=max_new_tokens, choosing=choosing)
    if chat or system is not None:
        opening = chatting.Opening(system=system, asked=prompt is not None, chat=chat)
        chatting.run(model, request, opening, family=family)
    else:
        run(model, request, family=family)


def demo(
    *,
    folder: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where everything goes.", callback=named)
    ] = "flexit-demo",
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=20, help="Updates of the weights.", show_default="300")
    ] = None,
) -> None:
    """Train, export, prove and run a small model on the source code of Python itself, in a few minutes.

    Example: flexit demo --folder my-demo
    """
    with interruptible(), stages(LOADING):
        from flexit.cli.demo import run

    run(Path(folder), steps=steps)


COMMANDS: tuple[Any, ...] = (train, export, verify, generate, demo)
