"""``datasets``: what the library of Hugging Face saved on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from flexit.errors import UserError
from flexit.ir.language.kinds import INFERRED
from flexit.runtime.train.data.files import damaged, find_documents, fingerprint, library
from flexit.runtime.train.data.source import Record, Source


class Datasets(Source, kind="datasets"):
    """A folder that ``Dataset.save_to_disk`` wrote, memory-mapped; needs the library datasets."""

    examples: ClassVar = ({"path": "my-dataset"},)
    path: str
    """The folder, relative to the run config."""
    split: Annotated[str | None, INFERRED] = None
    """Which of the datasets of a DatasetDict; inferred: the only one."""

    def open(self, base: Path) -> Saved:
        """The dataset."""
        library("datasets", "datasets")
        return Saved(base / self.path, self.split)


class Saved:
    """A dataset on disk."""

    def __init__(self, folder: Path, split: str | None) -> None:
        self.folder = folder
        self._data: Any = _loaded(folder, split)
        self.size: int = len(self._data)
        files = fingerprint(find_documents(["**/*.arrow", "**/*.json"], folder))
        self.fingerprint = hashlib.sha256(f"{split} {files}".encode()).hexdigest()

    def __iter__(self) -> Iterator[Record]:
        for number, values in enumerate(self._data, 1):
            yield Record(values, f"{self.folder}, row {number}", number)


def _loaded(folder: Path, split: str | None) -> Any:
    datasets = library("datasets", "datasets")
    if not folder.is_dir():
        raise UserError.of(
            "FX1601", f"{folder} is no folder", path="data", expected="a folder that save_to_disk wrote",
            found="nothing" if not folder.exists() else "a file",
            cure="correct path; it is relative to the run config",
        )  # fmt: skip
    try:
        found: Any = datasets.load_from_disk(str(folder))
    except Exception as error:  # of the library or of pyarrow, of many classes
        raise damaged(str(folder), expected="a folder that save_to_disk wrote", found=str(error)) from error
    splits: dict[str, Any] = {"": found} if isinstance(found, datasets.Dataset) else dict(found)
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split is None or split == "" or split not in splits:
        known = ", ".join(name for name in splits if name)
        raise UserError.of(
            "FX1601", f"{folder} has no such split", path="split", expected=f"one of {known}" if known else "no split",
            found=split or "none chosen",
            cure=f"write split: {next(iter(splits))}" if known else "delete split; the folder holds one dataset",
        )  # fmt: skip
    return splits[split]
