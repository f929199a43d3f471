"""A step of ``flexit.Trainer`` against loops of other libraries, each in a process of its own, in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from bench.report import Section, spread
from bench.training import GPT, LLAMA

LOOPS = Path(__file__).parent / "loops"
PACKAGES = {
    "x-transformers": (
        "x-transformers==2.31.10", "einops==0.8.2", "einx==0.4.3", "loguru==0.7.3", "frozendict==2.5.1",
        "torch-einops-utils==0.2.0",
    ),
    "flexitransformers": ("flexitransformers==0.3.0",),
}  # fmt: skip
PAIRS = 11
SWIGLU = """
flexit: 1
name: flexigpt
blocks:
  embed: {kind: embedding, vocab_size: 8192, d_model: 384, multiplier: sqrt_d_model}
  decoder:
    kind: stack
    n_layers: 6
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 6, rotary: {}, mask: causal}
      feed_forward: {kind: gated_mlp, d_ff: 1024}
    final_norm: true
  head: {kind: lm_head, tied_to: embed}
"""
SPECS = {"gpt": GPT, "llama": LLAMA, "flexigpt": SWIGLU}


@dataclass
class Loop:
    """A loop that waits for its turns."""

    name: str
    process: subprocess.Popen[str]
    parameters: int = 0
    seconds: list[float] = field(default_factory=list[float])
    losses: list[float] = field(default_factory=list[float])
    peak: int = 0

    def turn(self, number: int, *, counts: bool) -> None:
        """Make a step and note what it took."""
        told = self.ask(str(number))
        self.losses.append(told["loss"])
        if counts:
            self.seconds.append(told["seconds"])
        self.peak = max(self.peak, int(told["peak"]))

    def ask(self, line: str | None = None) -> dict[str, float]:
        """Send a line, if any, and read one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if line is not None:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} ended:\n{self.process.communicate()[1]}")
        return json.loads(answer)


def measure() -> Section:
    """Turns of every loop on the same batches, for each architecture."""
    head = ["architecture", "loop", "parameters", "ms", "its time / flexit's", "peak memory / flexit's", "loss"]
    rows = [head]
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: _installed(name, Path(temporary)) for name in PACKAGES}
        for case in CASES:
            found = _compared(case, folders=folders, room=Path(temporary))
            ours = found[0]
            for each in found:
                ratios = [a / b for a, b in zip(each.seconds, ours.seconds, strict=True)]
                rows.append([
                    case.title, each.name, f"{each.parameters / 1e6:.2f}M", f"{median(each.seconds) * 1e3:.0f}",
                    spread(ratios), f"{each.peak / ours.peak:.2f}", f"{each.losses[-1]:.4f}",
                ])  # fmt: skip
                print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    text = (
        "A step on 8 x 256 tokens where nothing else is said, fp32, the threads of PyTorch's choice: forward, "
        "cross-entropy, backward, fused AdamW. Ours is `flexit.Trainer` with all that it does "
        "beside, which on a CPU includes that freed memory stays with the process, blocks of 32 MiB or more left out; "
        "the others are plain loops where nothing else is said. "
        f"{PAIRS} rounds in which each loop, in a process of its own, makes a step on the same batch while the others "
        "wait, after two that do not count. A ratio above 1: flexit is faster, or leaner (the growth of the process "
        "from before it had a model to its peak). `by hand` and `flexitransformers` begin with the same weights, so "
        "that their losses are equal. Of 8 x 256 tokens over two thirds of a step are matrix products that every loop "
        "makes; flexitransformers writes out every score, so the ratio to it grows with the length (its rotary tables "
        "are made for 2,048 tokens). `python -m bench rivals`"
    )
    return Section("Training loops of other libraries", text, rows)


@dataclass(frozen=True)
class Case:
    """Loops that are compared.

    Attributes:
        title: of the architecture, in the table.
        kind: its name for the loops.
        mode: ``eager``, ``compiled``, or ``stock_loss``: ours beside itself with the cross-entropy of PyTorch.
        others: scripts of the loops beside ours; one with a mode of its own names it after a space.
        length: tokens of a row.
    """

    title: str
    kind: str
    mode: str
    others: Sequence[str]
    length: int = 256


KEPT = "kept"
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**40)}
"""What has the C library keep freed memory; ``flexit.Trainer`` beside gives back what is free after its first step."""
LABELS = {
    "by_hand": "by hand",
    "by_hand kept": "by hand, keeping freed memory",
    "by_hugging_face": "transformers",
    "by_x_transformers": "x-transformers",
    "by_flexitransformers": "flexitransformers",
    "by_flexitransformers trainer": "flexitransformers, its `Trainer`",
}
ALL = ("by_hand", "by_hand kept", "by_hugging_face", "by_x_transformers")
THEIRS = ("by_flexitransformers", "by_flexitransformers trainer")
CASES = (
    Case("GPT-2-like", "gpt", "eager", ALL),
    Case("GPT-2-like, compiled", "gpt", "compiled", ALL),
    Case("Llama-like", "llama", "eager", ALL),
    Case("Llama-like, compiled", "llama", "compiled", ALL),
    Case("Llama-like, 2 x 1024 tokens", "llama", "eager", ALL, 1024),
    Case("FlexiGPT", "flexigpt", "eager", THEIRS),
    Case("FlexiGPT, compiled", "flexigpt", "compiled", ("by_flexitransformers",)),
    Case("FlexiGPT, 2 x 1024 tokens", "flexigpt", "eager", THEIRS, 1024),
    Case("FlexiGPT, compiled, 2 x 1024 tokens", "flexigpt", "compiled", ("by_flexitransformers",), 1024),
    Case("GPT-2-like, the loss alone", "gpt", "stock_loss", ()),
)


def _compared(case: Case, *, folders: dict[str, Path], room: Path) -> list[Loop]:
    kind, mode, others = case.kind, case.mode, case.others
    spec, weights = room / f"{kind}.yaml", room / f"{kind}.safetensors"
    spec.write_text(SPECS[kind], encoding="utf-8")
    with ExitStack() as stack:
        begun = partial(_begun, stack, length=case.length)
        loops = [begun("flexit", ["by_spec", str(spec), str(weights), "eager" if mode == "stock_loss" else mode])]
        if mode == "stock_loss":
            loops.append(begun("with PyTorch's cross-entropy", ["by_spec", str(spec), "none", mode]))
        for other in others:
            script, _, own = other.partition(" ")
            path = folders.get(script.removeprefix("by_").replace("_", "-"))
            loops.append(begun(LABELS[other], [script, kind, str(weights), own or mode], path=path, kept=own == KEPT))
        for number in range(PAIRS + 2):
            order = loops if number % 2 else loops[::-1]
            for loop in order:
                loop.turn(number, counts=number >= 2)
    for loop in loops:
        if not loop.name.startswith(("by hand", "flexitransformers")):
            continue
        worst = max(abs(a - b) / a for a, b in zip(loops[0].losses, loop.losses, strict=True))
        if worst > 1e-4:
            raise SystemExit(f"{kind}: {loop.name} does not train the same model, losses differ by {worst:.1e}")
    return loops


def _begun(
    stack: ExitStack, name: str, command: list[str], *, length: int, path: Path | None = None, kept: bool = False
) -> Loop:  # fmt: skip
    """A loop that has its model."""
    own = {"FLEXIT_BENCH_LENGTH": str(length)} | (KEEPING if kept else {})
    own |= {} if path is None else {"PYTHONPATH": str(path)}
    environment = {**os.environ, **own}
    process = subprocess.Popen(
        [sys.executable, str(LOOPS / f"{command[0]}.py"), *command[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.kill)
    loop = Loop(name, process)
    loop.parameters = int(loop.ask()["parameters"])
    return loop


def _installed(name: str, room: Path) -> Path:
    """A folder of its own with a library and what it needs beside ours."""
    folder = room / name
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *PACKAGES[name]]
    subprocess.run(command, check=True, capture_output=True)
    return folder
