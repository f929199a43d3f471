"""Opening what a user names: a folder, the id of a cached model, a GGUF file, or a live model of ``transformers``."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexit.convert.sources import hub, live
from flexit.convert.sources.gguf import GgufFile, open_gguf
from flexit.convert.sources.inside import has_file, seen
from flexit.convert.sources.json import read_json
from flexit.convert.sources.weights import INDEX, SINGLE, read_weights
from flexit.convert.tensors import LazyTensor
from flexit.errors import SourceError
from flexit.ir.wording import cut

CONFIG = "config.json"
OURS = ("spec.json", "spec.yaml", "run.json")
"""Files that only folders of flexit have."""


@dataclass(frozen=True, eq=False)
class Source:
    """Somebody's checkpoint, opened.

    Attributes:
        config: the configuration as Hugging Face writes it, ``config.json``.
        tensors: the weights by the names that the files have for them; none is read yet.
        folder: where its other files are (tokenizer, generation settings), if there is a folder.
        place: what the user named, for messages.
        gguf: the GGUF file that it is, whose metadata stand in place of a configuration; ``config`` is empty then.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, LazyTensor]
    folder: Path | None
    place: str
    gguf: GgufFile | None = None


def open_source(given: object, *, allow_pickle: bool = False, weights: bool = True) -> Source:
    """Open a checkpoint without running code of it and without a network.

    Args:
        given: a folder, the id of a model in the Hugging Face cache (``org/name``), a ``.gguf`` file, or a model of
            ``transformers``, which is saved into a temporary folder that lives as long as the source.
        allow_pickle: read ``pytorch_model.bin`` where there is nothing else, by PyTorch's weights-only loader in a
            process of its own.
        weights: without, a folder need not have any; what it has in other form than safetensors is not opened.

    Raises:
        SourceError: FX1801 nothing that can be opened, FX1802 no configuration, and those of a file that is not what
            it should be.
    """
    if live.is_live(given):
        return _live(given)
    if not isinstance(given, str | os.PathLike):
        raise _nothing(f"an object of the class {type(given).__name__}", "a value")
    place = os.fsdecode(given)
    path = Path(place)
    try:
        is_folder, is_file = place != "" and path.is_dir(), path.exists()
    except (OSError, ValueError):
        is_folder = is_file = False
    if is_folder:
        return _folder(path, place, allow_pickle=allow_pickle, weights=weights)
    if is_file and path.suffix.lower() == ".gguf":
        file = open_gguf(path)
        return Source({}, file.tensors, None, place, gguf=file)
    if is_file:
        raise _nothing("a file that is no .gguf", place)
    if isinstance(given, str) and hub.is_hub_id(given) and (cached := hub.cached(given)):
        return _folder(cached, place, allow_pickle=allow_pickle, weights=weights)
    raise _nothing("no folder or file of that name, and no cached model of that id", place)


def is_source(given: str) -> bool:
    """Whether a name is that of another library's checkpoint: a folder with its configuration and without a spec of
    ours, a GGUF file, or the id of a model in the Hugging Face cache.
    """
    path = Path(given)
    try:
        if path.is_dir():
            ours = any((path / name).is_file() for name in OURS)
            return not ours and (path / CONFIG).is_file()
        if path.is_file():
            return path.suffix.lower() == ".gguf"
    except (OSError, ValueError):
        return False
    return hub.is_hub_id(given) and hub.cached(given) is not None


def _folder(folder: Path, place: str, *, allow_pickle: bool = False, weights: bool = True) -> Source:
    if not has_file(folder, CONFIG):
        raise SourceError.of(
            "FX1802", f"{place} has no configuration", expected=f"a folder with {CONFIG}",
            found=seen(folder), cure="give the folder that save_pretrained wrote, or that was downloaded",
        )  # fmt: skip
    config = read_json(folder, CONFIG)
    opened = weights or any(has_file(folder, name) for name in (SINGLE, INDEX))
    return Source(config, read_weights(folder, allow_pickle=allow_pickle) if opened else {}, folder, place)


def _live(model: Any) -> Source:
    folder = live.save(model)
    try:
        source = _folder(folder, f"a {type(model).__name__}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(source, shutil.rmtree, folder, ignore_errors=True)
    return source


def _nothing(found: str, place: str) -> SourceError:
    return SourceError.of(
        "FX1801", f"{cut(place)} cannot be opened",
        expected="a folder with config.json, a .gguf file, the id of a model in the Hugging Face cache, or a model of "
        "transformers", found=found, cure="look for the folder; a model of the hub has to be downloaded first",
    )  # fmt: skip
