"""The memory of a run as its config makes it, predicted and measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from flexit.ir.compile import compile_spec
from flexit.ir.io.load import load_spec
from flexit.runtime.train.read import parse_config
from flexit.runtime.train.resources.memory import training_memory

CONFIG = """flexit: 1
model: tiny-llama
set: ["blocks.embed.vocab_size={vocab}"]
task: causal_lm
data: {{train: {{kind: text, files: [a]}}, seq_len: 256, tokenizer: bpe}}
batch: {{size: {size}}}
out: run
steps: 3
{more}
"""

STEPS = """
import json, re, sys
from pathlib import Path
import torch
from flexit.ir.io.load import load_spec
from flexit.ir.passes.freeze import freeze
from flexit.lower.torch.module import to_torch
from flexit.runtime.train.optimisation.freezing import hold
from flexit.runtime.train.optimisation.selection import selected
from flexit.runtime.train.update.loss import CrossEntropy
from flexit.runtime.train.resources.memory import training_memory
from flexit.runtime.train.optimisation.optim import make_optimizer
from flexit.runtime.train.read import parse_config
from flexit.runtime.train.trainer import Trainer

def memory(which):
    return int(re.search(which + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

torch.set_num_threads(1)
config, _ = parse_config(sys.argv[1])
spec = load_spec(config.model, sets=config.set)
idle = memory("VmRSS")
model = to_torch(spec, seed=0)
program = freeze(model.program, selected(config.freeze, model.program.params()))
hold(model, program)
ids = torch.randint(0, 100, (config.batch.size, config.data.seq_len))
optimizer = make_optimizer(model, model.program, config.optimizer)
settings = {"progress": False, "device": "cpu", "recompute": config.recompute, "ema": config.ema}
loss = CrossEntropy(chunk=config.losses.chunk)
batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
Trainer(model, optimizer, loss, [batch], config=settings).fit(steps=3)
print(json.dumps([memory("VmHWM") - idle, training_memory(program, config)]))
"""


def predicted(more: str, *, vocab: int = 300, size: int = 8) -> int:
    config, _ = parse_config(CONFIG.format(vocab=vocab, size=size, more=more))
    return training_memory(compile_spec(load_spec(config.model, sets=config.set)), config)


def test_what_a_config_changes():
    whole = predicted("")
    parameters = 4 * sum(param.size for param in compile_spec(load_spec("tiny-llama", sets=[SMALL])).params())
    assert predicted("ema: {decay: 0.9}") - whole == parameters
    assert whole - predicted("optimizer: sgd") == 2 * parameters
    assert whole - predicted("optimizer: {kind: sgd, momentum: 0.9}") == parameters
    assert whole - predicted("optimizer: adafactor") == 2 * parameters
    assert whole == predicted("losses: {chunk: 10}")
    assert predicted("recompute: true") < whole


SMALL = "blocks.embed.vocab_size=300"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process is read as Linux gives it")
@pytest.mark.parametrize(
    ("more", "sizes"),
    [
        ("", {"vocab": 300, "size": 64}),
        ("recompute: true", {"vocab": 300, "size": 128}),
        ("recompute: true", {"vocab": 8000, "size": 32}),
        ("losses: {chunk: 512}", {"vocab": 8000, "size": 32}),
        ("freeze: [{match: 'decoder.layers.*'}, {role: embedding}]", {"vocab": 8000, "size": 32}),
    ],
)
def test_what_pytorch_asks_for_is_predicted_within_a_tenth(more: str, sizes: dict[str, int]):
    """Memory that is given back to the system at once: what malloc holds in pieces is none of it."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS, CONFIG.format(more=more, **sizes)], capture_output=True, text=True, check=True,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"},
    )  # fmt: skip
    found, wanted = json.loads(done.stdout.splitlines()[-1])
    print(f"{more} {sizes}: {found / 2**20:.0f} MiB measured, {wanted / 2**20:.0f} predicted")
    assert found == pytest.approx(wanted, rel=0.1)
