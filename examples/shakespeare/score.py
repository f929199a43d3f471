"""Held-out bits per byte in PyTorch and in ONNX Runtime: ``python -m examples.shakespeare.score RUN...``.

Of each run the newest checkpoint is exported with its evidence; both read the test works in windows of its length.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import flexit
from examples.shakespeare.prepare import DATA
from flexit import TextModel, TorchSession

LENGTH = 128


def bits_per_byte(model: TextModel) -> float:
    """Of all test works."""
    found = [
        flexit.perplexity(model, file.read_text(encoding="utf-8"), length=LENGTH)
        for file in sorted((DATA / "test").iterdir())
    ]
    return sum(each.bits_per_byte * each.n_bytes for each in found) / sum(each.n_bytes for each in found)


def main(*runs: str) -> None:
    """Print a line for each run."""
    for run in runs:
        newest = max((Path(run) / "checkpoints").glob("step-*"))
        with tempfile.TemporaryDirectory() as temporary:
            bundle = Path(temporary) / "bundle"
            flexit.export(newest, bundle)
            sessions = {
                "torch": TorchSession(flexit.load_checkpoint(newest)),
                "onnxruntime": flexit.open_bundle(bundle),
            }
            found = {name: bits_per_byte(TextModel.of(session, bundle)) for name, session in sessions.items()}
        print(json.dumps({"run": run, "checkpoint": newest.name, "bits_per_byte": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
