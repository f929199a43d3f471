"""Tensors over several files: the index that says which file has which tensor, held against the files themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from flexit.convert.sources.inside import has_file, listed
from flexit.convert.sources.json import read_json
from flexit.convert.tensors import LazyTensor
from flexit.errors import SourceError
from flexit.ir.wording import cut, shown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,254}")
"""What a shard is called: no folder, no hidden file."""

_CURE = "copy the checkpoint anew, with all of its files and the index that belongs to them"

Reader = Callable[[str], Mapping[str, LazyTensor]]


def read_sharded(folder: Path, index: str, read: Reader) -> dict[str, LazyTensor]:
    """The tensors of all files that an index names, in its order.

    Args:
        folder: where the index and the files are.
        index: name of the index, a JSON object whose ``weight_map`` maps names of tensors to names of files.
        read: gives the tensors of one file by its name.

    Raises:
        SourceError: FX1815 the index is none, FX1805 it names a file outside the folder, FX1816 a file is missing,
            FX1817 index and files disagree, FX1818 two files have one tensor; and what ``read`` raises.
    """
    files = _weight_map(folder, index)
    shards = list(dict.fromkeys(files.values()))
    missing = [shard for shard in shards if not has_file(folder, shard)]
    if missing:
        raise SourceError.of(
            "FX1816", f"{folder / index} names files that are not there", expected=f"{len(shards)} files",
            found=f"no {listed(missing)}", cure="copy or download the missing files",
        )  # fmt: skip
    found: dict[str, tuple[str, LazyTensor]] = {}
    for shard in shards:
        for name, tensor in read(shard).items():
            if name in found:
                raise SourceError.of(
                    "FX1818", f"{folder}: a tensor is there twice", path=cut(name), expected="each tensor in one file",
                    found=f"{cut(name)} in {cut(found[name][0])} and in {cut(shard)}", cure=_CURE,
                )  # fmt: skip
            found[name] = (shard, tensor)
    _require_agreement(folder / index, files, {name: shard for name, (shard, _) in found.items()})
    return {name: found[name][1] for name in files}


def _weight_map(folder: Path, index: str) -> dict[str, str]:
    files = read_json(folder, index).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(file, str) for file in files.values()):
        raise SourceError.of(
            "FX1815", f"{folder / index} is no index", expected="weight_map, an object from names of tensors to files",
            found="none" if files is None else shown(files), cure=_CURE,
        )  # fmt: skip
    for name, file in files.items():
        if not _NAME.fullmatch(file):
            raise SourceError.of(
                "FX1805", f"{folder / index} leads out of the checkpoint", path=cut(name),
                expected="bare names of files beside the index", found=shown(file), cure=_CURE,
            )  # fmt: skip
    return files


def _require_agreement(index: Path, said: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Every tensor is in the file that the index says, and every tensor of these files in the index."""
    absent = [name for name in said if name not in found]
    moved = [name for name in said if name in found and found[name] != said[name]]
    extra = [name for name in found if name not in said]
    if not (absent or moved or extra):
        return
    faults = [
        f"{what}: {listed(names)}"
        for what, names in (("in no file", absent), ("in another file", moved), ("not in the index", extra))
        if names
    ]
    raise SourceError.of(
        "FX1817", f"{index} and its files disagree", expected="each tensor of the index in the file that it names",
        found="; ".join(faults), cure=_CURE,
    )  # fmt: skip
