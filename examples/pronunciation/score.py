"""Say words that were not trained on, in PyTorch and in ONNX Runtime: ``python -m examples.pronunciation.score RUN``.

The checkpoint is exported with its evidence; then both say every word of the test part, greedily.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import flexit
from examples.pronunciation.words import LONGEST, by_length, ways, word_error
from flexit import TorchSession, generate
from flexit.runtime.generation.generation_config import GenerationConfig
from flexit.runtime.sessions.session import Session
from flexit.runtime.tokenizer import Tokenizer

SIZE = 256


def say(session: Session, folder: Path, words: list[str]) -> dict[str, str]:
    """What a model says of each word.

    Args:
        session: of the model.
        folder: its tokenizers, and how its targets begin and end.
        words: to say.
    """
    letters, phones = (Tokenizer.load(folder / name) for name in ("tokenizer.json", "target_tokenizer.json"))
    config = GenerationConfig.read(folder / "generation_config.json")
    said: dict[str, str] = {}
    for batch in by_length(words, SIZE):
        sources = [each.ids for each in letters.read(batch)]
        mask = np.array([[place < len(row) for place in range(len(sources[-1]))] for row in sources], np.int64)
        ids = np.array([row + [config.pad] * (mask.shape[1] - len(row)) for row in sources], np.int64)
        tokens = generate(
            session, [[config.start]] * len(batch), max_new_tokens=LONGEST, eos_id=config.eos, pad_id=config.pad,
            others={"input_ids": ids, "attention_mask": mask},
        )  # fmt: skip
        said.update(zip(batch, map(phones.decode, tokens), strict=True))
    return said


def main(run: str) -> None:
    """Print the word errors of both, and whether they say the same."""
    best = _best(Path(run) / "checkpoints")
    known = ways("test")
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary) / "bundle"
        flexit.export(best, bundle)
        sessions = {"torch": TorchSession(flexit.load_checkpoint(best)), "onnxruntime": flexit.open_bundle(bundle)}
        said = {name: say(session, bundle, list(known)) for name, session in sessions.items()}
    errors = {name: word_error(words, known) for name, words in said.items()}
    same = sum(said["torch"][word] == said["onnxruntime"][word] for word in known)
    print(json.dumps({"checkpoint": best.name, "words": len(known), "word_error": errors, "same": same}, indent=1))


def _best(checkpoints: Path) -> Path:
    """The checkpoint with the lowest validation loss."""
    scores = {
        path: json.loads((path / "training" / "state.json").read_text())["validation_loss"]
        for path in checkpoints.glob("step-*")
    }
    return min((path for path, score in scores.items() if score is not None), key=lambda path: scores[path])


if __name__ == "__main__":
    main(*sys.argv[1:])
