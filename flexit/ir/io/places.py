"""What a path leads to (a run, a checkpoint, a bundle, another folder, a file, nothing), and what to give instead."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

MANIFEST, RUN, WEIGHTS = "manifest.json", "run.json", "model.safetensors"
"""The file that makes a folder a bundle, a run, a checkpoint."""
ADAPTER = "adapter.safetensors"
"""What a checkpoint has in the place of its weights, or beside them, where only an adapter learnt."""
SPECS = ("spec.json", "spec.yaml")
"""Where a folder has its spec: as it was when it was trained or exported, or as it began or was imported."""
CARRIED = (
    "tokenizer.json", "target_tokenizer.json", "generation_config.json", "labels.json", "chat_template.jinja",
    "special_tokens_map.json", "sentence_bert_config.json", "config_sentence_transformers.json",
)  # fmt: skip
"""Files beside the weights of a model that go into a bundle as they are."""

Place = Literal["bundle", "run", "checkpoint", "folder", "file", "nothing"]


def place_of(path: str | Path) -> Place:
    """What a path leads to."""
    there = Path(path)
    try:
        if not there.is_dir():
            return "file" if there.exists() else "nothing"
        if (there / MANIFEST).is_file():
            return "bundle"
        if (there / RUN).is_file() or (there / "checkpoints").is_dir():
            return "run"
        return "checkpoint" if any((there / name).is_file() for name in (WEIGHTS, ADAPTER)) else "folder"
    except OSError:  # a name that is too long, a folder that may not be read
        return "nothing"


def found_at(path: str | Path) -> str:
    """The same in words."""
    found = place_of(path)
    return "nothing of this name" if found == "nothing" else f"a {found}"


def instead_of(path: str | Path, wanted: Literal["spec", "model", "bundle", "checkpoint", "run"]) -> str | None:
    """What to give or to do where ``path`` is not what is wanted; None where nothing can be told from it."""
    found, typed = place_of(path), shlex.quote(str(path))
    if found == "nothing":
        return "correct the path"
    specs = (Path(path) / name for name in SPECS)
    spec = shlex.quote(str(next((file for file in specs if file.is_file()), Path(path) / SPECS[-1])))
    exporting = f"export it first: flexit export {typed} OUT"
    cures = {
        ("spec", "bundle"): f"give its spec, {spec}",
        ("spec", "checkpoint"): f"give its spec, {spec}",
        ("spec", "run"): f"give its spec, {spec}",
        ("spec", "folder"): f"give a file in it; flexit check {typed} checks all of them",
        ("model", "bundle"): "give what it was exported from: the run, the checkpoint or the spec",
        ("model", "run"): "train it first: the run has no checkpoint yet",
        ("bundle", "run"): exporting,
        ("bundle", "checkpoint"): exporting,
        ("bundle", "file"): exporting,
        ("checkpoint", "run"): f"give one of its checkpoints, in {shlex.quote(str(Path(path) / 'checkpoints'))}",
        ("run", "file"): "give the run folder, which a run config calls out",
        ("run", "checkpoint"): "give the run folder that the checkpoint lies in",
        ("checkpoint", "bundle"): f"open it: flexit.open_bundle({str(path)!r})",
    }
    return cures.get((wanted, found))
