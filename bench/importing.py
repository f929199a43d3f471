"""Time and memory of reading another library's checkpoint of 1.1 billion parameters and writing it as ours."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.processes import run
from bench.report import Section, spread
from flexit.convert.exporting import as_family
from flexit.convert.tensors import LazyTensor
from flexit.files.safetensors import write_sharded
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import parse_spec

PAIRS = 2
SPEC = """
flexit: 1
name: large
blocks:
  embed: {kind: embedding, vocab_size: 32000, d_model: 2048}
  decoder:
    kind: stack
    n_layers: 22
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 32, n_kv_heads: 4, rotary: {}, mask: causal}
      feed_forward: {kind: gated_mlp, d_ff: 5632}
    final_norm: true
  head: {kind: lm_head}
"""

IMPORT = """
import os, threading
from flexit.convert.pretrained import from_pretrained

most, done = 0, threading.Event()
def anonymous():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))
def watch():
    global most
    while not done.wait(0.02):
        most = max(most, anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
began_import = time.perf_counter()
from_pretrained(sys.argv[2]).save(sys.argv[3])
seconds = time.perf_counter() - began_import
done.set()
watcher.join()
notes = {"seconds": seconds, "anonymous": most}
"""
COPY = """
import os, shutil
began_copy = time.perf_counter()
os.mkdir(sys.argv[3])
for name in os.listdir(sys.argv[2]):
    with open(os.path.join(sys.argv[2], name), "rb") as source, open(os.path.join(sys.argv[3], name), "wb") as target:
        shutil.copyfileobj(source, target, 16 * 2**20)
        target.flush()
        os.fsync(target.fileno())
notes = {"seconds": time.perf_counter() - began_copy}
"""


def write_checkpoint(folder: Path) -> int:
    """A checkpoint of ``transformers`` with random weights, in shards; its bytes."""
    spec = parse_spec(SPEC)
    shapes = {param.path: param.shape for param in compile_spec(spec).params()}
    weights = {path: LazyTensor(shape, "F32", drawn(shape)) for path, shape in shapes.items()}
    written = as_family(spec, weights, "llama")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(written.config), encoding="utf-8")
    write_sharded(folder, written.tensors, max_bytes=10**9)
    return sum(tensor.nbytes for tensor in written.tensors.values())


def drawn(shape: tuple[int, ...]) -> Any:
    """What draws an array of that shape."""
    return lambda: np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def measure() -> Section:
    """A copy of the same bytes and an import take turns, each in a process of its own."""
    copies: list[float] = []
    imports: list[float] = []
    anonymous: list[float] = []
    with tempfile.TemporaryDirectory(prefix="flexit-bench-") as name:
        base = Path(name)
        size = write_checkpoint(base / "theirs")
        for index in range(PAIRS):
            arguments = [str(base / "theirs"), str(base / f"out{index}")]
            copies.append(run(COPY, [arguments[0], arguments[1] + "c"]).notes["seconds"])
            taken = run(IMPORT, arguments)
            imports.append(taken.notes["seconds"])
            anonymous.append(taken.notes["anonymous"])
    ratios = [one / other for one, other in zip(imports, copies, strict=True)]
    rows = [
        ["parameters", "bytes", "import, s", "import / copy", "anonymous memory at most"],
        [
            "1.1B", f"{size / 1e9:.1f} GB", spread(imports, ".0f"), spread(ratios),
            f"{max(anonymous) / 1e6:.0f} MB",
        ],
    ]  # fmt: skip
    text = (
        "A random Llama in shards of 1 GB, fp32, read as a spec with every tensor accounted for, and written as a "
        f"checkpoint; a copy of the same files with `fsync` took turns with it, {PAIRS} pairs. "
        "`python -m bench importing`"
    )
    return Section("Reading another library's checkpoint", text, rows)
