"""Which files of a folder hold its weights, in the order in which ``transformers`` looks for them."""

from __future__ import annotations

from pathlib import Path

from flexit.convert.sources.inside import has_file, seen
from flexit.convert.sources.pickle import read_pickle
from flexit.convert.sources.safetensors import read_safetensors
from flexit.convert.sources.shards import read_sharded
from flexit.convert.tensors import LazyTensor
from flexit.errors import SourceError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


def read_weights(folder: Path, *, allow_pickle: bool = False) -> dict[str, LazyTensor]:
    """The tensors of a folder by the names that its files have for them.

    Args:
        folder: has ``model.safetensors``, or its index and shards; or ``pytorch_model.bin``, or its index and shards.
        allow_pickle: read a ``.bin``, by PyTorch's weights-only loader in a process of its own.

    Raises:
        SourceError: FX1808 there are no weights, FX1819 only a pickle; and those of :func:`read_safetensors`,
            :func:`read_sharded`, :func:`read_pickle`.
    """
    if has_file(folder, SINGLE):
        return read_safetensors(folder, SINGLE)
    if has_file(folder, INDEX):
        return read_sharded(folder, INDEX, lambda shard: read_safetensors(folder, shard))
    if not allow_pickle and (has_file(folder, PICKLE) or has_file(folder, PICKLE_INDEX)):
        raise _a_pickle(folder)
    if has_file(folder, PICKLE):
        return read_pickle(folder, PICKLE)
    if has_file(folder, PICKLE_INDEX):
        return read_sharded(folder, PICKLE_INDEX, lambda shard: read_pickle(folder, shard))
    raise _no_weights(folder)


def _a_pickle(folder: Path) -> SourceError:
    return SourceError.of(
        "FX1819", f"{folder}: its weights are a pickle", expected=f"{SINGLE}, or {INDEX} and its files",
        found=PICKLE if has_file(folder, PICKLE) else PICKLE_INDEX,
        cure="get the checkpoint as safetensors; or give --allow-pickle (in Python: allow_pickle=True), which lets "
        "PyTorch's weights-only loader read it in a process without a network",
    )  # fmt: skip


def _no_weights(folder: Path) -> SourceError:
    return SourceError.of(
        "FX1808", f"{folder} has no weights", expected=f"{SINGLE}, or {INDEX} and its files",
        found=seen(folder),
        cure="give the folder of a whole model; of shards, the index belongs to it as well",
    )  # fmt: skip
