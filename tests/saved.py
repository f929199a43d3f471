"""A small trained model on the disk, as a checkpoint and as a bundle, and ways to spoil a copy of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.export import export
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.describe import spec_json

TEXT = ["def a function of some words that a tokenizer can learn\n" * 3]


def write_checkpoint(folder: Path, *, seed: int = 0, sets: Sequence[str] = ()) -> Path:
    """A folder with a spec, weights, a tokenizer and settings, as ``flexit train`` leaves them."""
    spec = load_spec("tiny-llama", sets=["blocks.embed.vocab_size=260", "blocks.decoder.n_layers=1", *sets])
    module = to_torch(spec, seed=seed)
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(spec_json(spec))
    save_file({name: value.detach() for name, value in module.named_parameters()}, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(Tokenizer.train(TEXT, vocab_size=260).dumps())
    (folder / "generation_config.json").write_text('{"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}')
    return folder


def write_bundle(folder: Path, checkpoint: Path) -> Path:
    """The bundle of a checkpoint."""
    export(checkpoint, folder)
    return folder


def spoilt(bundle: Path, copy: Path, *, manifest: dict[str, Any] | None = None, **files: bytes) -> Path:
    """A copy with other content whose hashes fit again: damage that no checksum shows.

    Args:
        bundle: what is copied.
        copy: where to.
        manifest: entries of the manifest to replace.
        files: new content by file name, with ``__`` for the dot.
    """
    shutil.copytree(bundle, copy)
    data = json.loads((copy / "manifest.json").read_text())
    for name, content in files.items():
        file = copy / name.replace("__", ".")
        file.write_bytes(content)
        data["files"][file.name] = hashlib.sha256(content).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(data | (manifest or {})))
    return copy
