"""``flexit demo``: from the source code of Python to a small proven model. What is done is not done again."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

import typer

from flexit.cli.choosing import Choosing
from flexit.cli.console import note, say, table, typed
from flexit.cli.curves import drawn
from flexit.cli.generating import Request, speaker_at
from flexit.cli.opening import checkpoint_at, evidence_rows
from flexit.errors import CheckpointError, UserError
from flexit.files.folder import write_file
from flexit.runtime.bundles.bundle import read_bundle
from flexit.runtime.bundles.export import export
from flexit.runtime.runs.folder import VALIDATION, RunFolder
from flexit.runtime.runs.picture import pictured
from flexit.runtime.runs.series import curves_of
from flexit.runtime.status import stages
from flexit.runtime.train.resources.signals import interruptible
from flexit.runtime.train.run import train

STEPS = 300
CHANGED = "FX1202"
PROMPT = "def __init__(self"
FIRST = "# What `flexit demo` trains"
CONFIG = """\
{first}. To try something else, copy it, give the copy another out, and run `flexit train COPY`.
flexit: 1
model: demo-decoder
task: causal_lm
data:
  train: {{kind: text, files: [{files}]}}
  validation: {{split: 0.05}}
  seq_len: 128
  tokenizer: {{kind: bpe, vocab_size: 4096}}
batch: {{size: 16}}
optimizer: {{kind: adamw, lr: 3e-3, weight_decay: 0.1, betas: [0.9, 0.95]}}
schedule: {{kind: cosine, warmup: {warmup}}}
steps: {steps}
evaluate: {{every: {every}, max_batches: 20}}
checkpoint: {{every: {every}, keep_last: 2}}
log: {{every: 5}}
seed: 0
out: run
"""


def run(folder: Path, *, steps: int | None = None) -> None:
    """Carry out the demo, or what of it is left.

    Args:
        folder: where everything goes.
        steps: of a new run; one that has begun keeps its own.

    Raises:
        typer.Exit: it was interrupted.
    """
    try:
        _carry_out(folder, steps)
    except KeyboardInterrupt:
        note("interrupted; the same command goes on")
        raise typer.Exit(130) from None


def _carry_out(folder: Path, steps: int | None) -> None:
    config = folder / "run.yaml"
    _require_ours(folder, config)
    folder.mkdir(parents=True, exist_ok=True)
    if not config.exists():
        write_file(config, _config(STEPS if steps is None else steps))
    elif steps is not None:
        note(f"{config} is there already and is carried out as it is, whatever --steps says")
    say("1. Training demo-decoder (2.4M parameters) on the source code of Python's standard library", bold=True)
    _trained(config)
    curve = _curve(folder)
    say("\n2. Exporting to ONNX and proving it equal to PyTorch", bold=True)
    bundle = _bundle(folder)
    table(evidence_rows(bundle), right=(2, 3, 4))
    say(f"Tolerance {bundle['evidence']['tolerance']:.0e}; {bundle['evidence']['scope']}.")
    say("\n3. The same text from both", bold=True)
    _compared(folder)
    say("\nWhere everything lies", bold=True)
    for what, where in (
        ("run config", config),
        ("run", folder / "run"),
        ("loss curve", curve),
        ("bundle", folder / "bundle"),
    ):
        say(f"  {what:<12} {where}")
    say("\nWhat to try next", bold=True)
    bundle_to_type = typed(folder / "bundle")
    for command in (
        f'flexit generate {bundle_to_type} --prompt "import " --temperature 0.8 --top-k 40',
        f"flexit verify {bundle_to_type}",
        "flexit show demo-decoder",
        "flexit new demo-decoder mine.yaml",
    ):
        say(f"  {command}")


def _require_ours(folder: Path, config: Path) -> None:
    """Leave a file, and a run config of the user's, alone.

    Raises:
        UserError: FX1302, that is what is there.
    """
    if folder.exists() and not folder.is_dir():
        found = "a file"
    elif config.exists() and not config.read_bytes().startswith(FIRST.encode()):
        found = f"a {config.name} that the demo did not write"
    else:
        return
    raise UserError.of(
        "FX1302", f"{folder} is not the demo's", expected="a new folder, or that of a demo", found=found,
        cure="choose another --folder", path="folder",
    )  # fmt: skip


def _config(steps: int) -> str:
    library = Path(sysconfig.get_paths()["stdlib"]).resolve()
    files = ", ".join(
        json.dumps(str(library / pattern)) for pattern in ("*.py", "json/*.py", "email/*.py", "asyncio/*.py")
    )
    return CONFIG.format(first=FIRST, files=files, steps=steps, every=max(10, steps // 6), warmup=steps // 10)


@interruptible()
def _trained(config: Path) -> None:
    try:
        result = train(config)
    except CheckpointError as error:
        if error.code != CHANGED:
            raise
        for problem in error.problems:
            note(f"going on although {problem.message}: {problem.expected}, now {problem.found}")
        result = train(config, allow_changed=True)
    if result.stopped_by is not None:
        note(f"interrupted at step {result.step}; the same command goes on")
        raise typer.Exit(130)
    held_out = "" if result.validation_loss is None else f", validation loss {result.validation_loss:.2f}"
    say(f"step {result.step}, {result.tokens:,} tokens{held_out}")


@interruptible()
def _curve(folder: Path) -> Path:
    """The loss curve in the terminal and as a picture."""
    trained = RunFolder(folder / "run")
    curves = curves_of([trained], [name for name in ("loss", VALIDATION) if trained.values(name)])
    say(drawn(curves))
    return pictured(curves, folder / "loss.png")


@interruptible()
def _bundle(folder: Path) -> dict[str, Any]:
    """The manifest of the bundle, exported anew unless it is of the newest checkpoint."""
    checkpoint = checkpoint_at(str(folder / "run"))
    assert checkpoint is not None
    known = folder / "bundle.of"
    stamp = f"{checkpoint.name} {(checkpoint / 'model.safetensors').stat().st_mtime_ns}"
    if not ((folder / "bundle").is_dir() and known.exists() and known.read_text(encoding="utf-8") == stamp):
        with stages("exporting") as step:
            export(checkpoint, folder / "bundle", force=True, progress=step)
        known.write_text(stamp, encoding="utf-8")
    return dict(read_bundle(folder / "bundle").manifest)


@interruptible()
def _compared(folder: Path) -> None:
    """The same greedy text from ONNX Runtime and from PyTorch."""
    request = Request(prompts=[PROMPT], source=None, max_new_tokens=60, choosing=Choosing(temperature=0.0))
    with stages("generating"):
        texts = {
            "ONNX Runtime": speaker_at(str(folder / "bundle")).speak(request)[0],
            "PyTorch": speaker_at(str(folder / "run")).speak(request)[0],
        }
    if len(set(texts.values())) == 1:
        say("PyTorch and ONNX Runtime, token for token:")
        texts = {"": next(iter(texts.values()))}
    for name, text in texts.items():
        say(f"{name + ': ' if name else ''}{PROMPT}{text}")
