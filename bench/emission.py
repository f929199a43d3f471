"""Time and memory of writing a model of 124 million parameters as ONNX."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.processes import run
from bench.report import Section, spread

RUNS = 5
MODEL = "gpt2"

EMIT = """
import flexit
import numpy as np
from flexit.ir.compile import compile_spec
spec, rng = flexit.load_spec(sys.argv[2]), np.random.default_rng(0)
params = compile_spec(spec).params()
weights = {param.path: rng.standard_normal(param.shape, dtype=np.float32) for param in params}
size = sum(array.nbytes for array in weights.values())
began_emission = time.perf_counter()
flexit.to_onnx(spec, weights, sys.argv[3])
notes = {"seconds": time.perf_counter() - began_emission, "weights": size}
"""


def measure() -> Section:
    """A fresh process for each run, which holds the weights as arrays."""
    with tempfile.TemporaryDirectory(prefix="flexit-bench-") as folder:
        taken = [run(EMIT, [MODEL, str(Path(folder) / f"out{index}")]) for index in range(RUNS)]
    size = taken[0].notes["weights"]
    rows = [
        ["model", "weights", "emission, s", "peak of the process / weights"],
        [
            MODEL, f"{size / 1e6:.0f} MB", spread([one.notes["seconds"] for one in taken]),
            spread([one.peak / size for one in taken]),
        ],
    ]  # fmt: skip
    text = (
        f"`flexit.to_onnx` from arrays in memory to files, imports of the backend included, {RUNS} processes. The peak "
        "is all that the process ever held: interpreter, libraries, the weights themselves. `python -m bench emission`"
    )
    return Section("Emission", text, rows)
