"""How much of a step goes into making its batch."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from pydoc_data.topics import topics

from bench.report import Section
from bench.training import BATCH, GPT, LENGTH, VOCAB
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.run import make_plan, make_trainer, prepare
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.step import Step

STEPS, SKIPPED = 60, 10
LAYER = "kind: transformer_layer, norm: layer_norm, norm_placement: pre, feed_forward: {kind: mlp, d_ff: 512}"
HEADS = "kind: multi_head, n_heads: 4"
ONE = f"""
flexit: 1
name: one
blocks:
  embed: {{kind: embedding, vocab_size: 1024, d_model: 128, position: sinusoidal}}
  body: {{kind: stack, n_layers: 2, layer: {{{LAYER}, attention: {{{HEADS}, mask: MASK}}}}}}
  head: {{kind: HEAD}}
"""
TWO = f"""
flexit: 1
name: two
inputs: {{input_ids: tokens, decoder_input_ids: tokens}}
blocks:
  source: {{kind: embedding, from: input_ids, vocab_size: 1024, d_model: 128, position: sinusoidal}}
  encoder: {{kind: stack, n_layers: 2, layer: {{{LAYER}, attention: {{{HEADS}, mask: full}}}}}}
  target: {{kind: embedding, from: decoder_input_ids, tied_to: source, position: sinusoidal}}
  decoder:
    kind: stack
    from: {{x: target, memory: encoder}}
    n_layers: 2
    layer: {{{LAYER}, attention: {{{HEADS}, mask: causal}}, cross_attention: {{{HEADS}, mask: full}}}}
  head: {{kind: lm_head, tied_to: source}}
"""
LARGER = "causal_lm, the GPT-2-like model"
SPECS: Mapping[str, str] = {
    LARGER: GPT,
    "causal_lm": ONE.replace("MASK", "causal").replace("HEAD", "lm_head, tied_to: embed"),
    "masked_lm": ONE.replace("MASK", "full").replace("HEAD", "mlm_head, tied_to: embed"),
    "seq2seq": TWO,
    "sequence_classification": ONE.replace("MASK", "full").replace(
        "HEAD", "sequence_classifier, n_labels: 2, pool: mean"
    ),
}
CONFIG = """
flexit: 1
model: spec.yaml
task: {task}
data:
  train: {{kind: jsonl, files: [data.jsonl]}}
  seq_len: {length}
  tokenizer: {{kind: {tokenizer}, vocab_size: {vocab}}}
  bucket: 4
  workers: {workers}
batch: {{size: {rows}}}
steps: {steps}
device: cpu
checkpoint: {{every: {steps}}}
out: run-{workers}
"""


class Clock(Callback):
    """Seconds of batches and of steps, without the first ones."""

    def __init__(self) -> None:
        self.making = self.began = self.ended = 0.0

    def start(self, trainer: Trainer) -> None:
        feed = trainer._feed
        given = feed.next

        def timed() -> object:
            began = time.perf_counter()
            batch = given()
            self.making += time.perf_counter() - began
            return batch

        feed.next = timed

    def after_step(self, trainer: Trainer, step: Step) -> None:
        del trainer
        self.ended = time.perf_counter()
        if step.number == SKIPPED:
            self.began, self.making = self.ended, 0.0


def measure() -> Section:
    """The share of each task, without worker processes and with one."""
    rows = [["task", "ms of a step", "share of its batch", "with a worker process"]]
    for name, spec in SPECS.items():
        task, _, larger = name.partition(", ")
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "spec.yaml").write_text(spec, encoding="utf-8")
            _write_data(folder / "data.jsonl", task)
            alone, helped = (_run(folder, task, workers=workers, larger=bool(larger)) for workers in (0, 1))
        rows.append([name, f"{alone[0] * 1e3:.0f}", f"{alone[1]:.2%}", f"{helped[1]:.2%}"])
    text = (
        "The GPT-2-like model of the other tables on 8 x 256 tokens, and two layers of width 128 on 16 rows of at most "
        f"128 tokens, so small that a batch weighs: {STEPS - SKIPPED} steps of a run config, after ten that do not "
        "count. What a worker process made is received by a thread during the step before. "
        "`python -m bench loading`"
    )
    return Section("Making batches", text, rows)


def _run(folder: Path, task: str, *, workers: int, larger: bool) -> tuple[float, float]:
    """Seconds of a step, and the share of it that making its batch takes."""
    tokenizer = "bpe" if task in ("causal_lm", "seq2seq") else "wordpiece"
    path = folder / f"run-{workers}.yaml"
    sizes = {"rows": BATCH, "length": LENGTH, "vocab": VOCAB} if larger else {"rows": 16, "length": 128, "vocab": 1024}
    text = CONFIG.format(task=task, tokenizer=tokenizer, workers=workers, steps=STEPS, **sizes)
    path.write_text(text, encoding="utf-8")
    plan, clock = make_plan(path), Clock()
    plan.out.mkdir()
    make_trainer(plan, prepare(plan), callbacks=[clock], progress=False).fit(steps=STEPS)
    whole = clock.ended - clock.began
    return whole / (STEPS - SKIPPED), clock.making / whole


def _write_data(file: Path, task: str) -> None:
    """Paragraphs of Python's own manual, in the columns of a task."""
    texts = [part for name in sorted(topics) for part in topics[name].split("\n\n") if len(part) > 40]
    columns = {
        "seq2seq": lambda text: {"source": text, "target": text[::-1]},
        "sequence_classification": lambda text: {"text": text, "label": "long" if len(text) > 200 else "short"},
    }
    as_row = columns.get(task, lambda text: {"text": text})
    file.write_text("".join(json.dumps(as_row(text)) + "\n" for text in texts), encoding="utf-8")
