"""``datasets``: what the library of Hugging Face saved on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from flexit.errors import UserError
from flexit.ir.language.kinds import INFERRED
from flexit.runtime.train.data.files import Document, damaged, fingerprint, library, not_utf8
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
        # the files of the data alone: map() puts its cache beside them
        files = [Path(each["filename"]) for each in self._data.cache_files]
        self.fingerprint = fingerprint([Document.of(file) for file in files])

    def __iter__(self) -> Iterator[Record]:
        rows = iter(self._data)
        for number in range(1, self.size + 1):
            place = f"{self.folder}, row {number}"
            yield Record(_next(rows, place), place, number)


def _next(rows: Iterator[dict[str, Any]], place: str) -> dict[str, Any]:
    try:
        return next(rows)
    except UnicodeDecodeError as error:
        raise not_utf8(place, error) from None
    except Exception as error:  # of the library or of pyarrow, of many classes
        raise damaged(place, expected="a row of a dataset", found=str(error)) from error


def _loaded(folder: Path, split: str | None) -> Any:
    datasets = library("datasets", "datasets")
    if not folder.is_dir():
        raise UserError.of(
            "FX1601", f"{folder} is no folder", path="path", expected="a folder that save_to_disk wrote",
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
