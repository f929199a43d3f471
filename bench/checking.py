"""How long a check takes, and what a very deep spec costs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.processes import run
from bench.report import Section, spread
from flexit.ir.analysis.cost import cost
from flexit.ir.io.load import parse_spec

RUNS = 9
DEEP = """
flexit: 1
name: deep
blocks:
  embed: {kind: embedding, vocab_size: 50000, d_model: 2880}
  decoder:
    kind: stack
    n_layers: 10000
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 36, n_kv_heads: 4, rotary: {}, mask: {kind: causal, window: 4096}}
      feed_forward: {kind: gated_mlp, d_ff: 10000}
    variants:
      global: {attention: {mask: causal}}
      wide: {feed_forward: {d_ff: 12000}}
      plain: {feed_forward: {kind: mlp, d_ff: 11520}}
    pattern: [default*2, wide, plain, default, global]
    final_norm: true
  head: {kind: lm_head, tied_to: embed}
"""
COST = """
from flexit.cli.app import run
assert run(["cost", sys.argv[2]]) == 0
"""


def measure() -> Section:
    """The command as a process, and the deep spec in one of its own."""
    walls: list[float] = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "flexit", "check", "gpt2"], check=True, capture_output=True)
        walls.append(time.perf_counter() - began)
    with tempfile.TemporaryDirectory(prefix="flexit-bench-") as folder:
        file = Path(folder) / "deep.yaml"
        file.write_text(DEEP, encoding="utf-8")
        taken = [run(COST, [str(file)]) for _ in range(RUNS)]
    parameters = cost(parse_spec(DEEP)).parameters
    rows = [
        ["what", "seconds", "peak memory, MB"],
        ["`flexit check gpt2`, the whole process", spread(walls[1:]), ""],
        [
            f"`flexit cost` of 10,000 layers, four of them distinct, {parameters / 1e12:.2f}e12 parameters",
            spread([one.wall for one in taken]), spread([one.peak / 1e6 for one in taken], ".0f"),
        ],
    ]  # fmt: skip
    text = f"Median (smallest to largest) of {RUNS} processes. `python -m bench checking`"
    return Section("Checking", text, rows)
