"""Encoded examples on disk: columns of numbers, as many in each row as that row needs, read by memory map."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

import flexit
from flexit.errors import CheckpointError, UserError
from flexit.files.folder import recover, writing
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.data.arrays import Mapped
from flexit.runtime.train.data.split import NOTHING, Settled
from flexit.runtime.train.data.token_files import TokenFiles

MARKER = "data.json"
SAMPLE, SAMPLES = 65_536, 200
"""Characters of a text, and records, by which the size of the encoded data is predicted."""
Array = npt.NDArray[Any]
Row = Mapping[str, Array]
OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Column:
    """Numbers of all rows, one row after the other. Another process that is sent one maps the files itself.

    Attributes:
        file: with the numbers.
        dtype: of the numbers.
        values: memory-mapped numbers.
        starts: ``int64 [rows + 1]``: row ``i`` has ``values[starts[i]:starts[i + 1]]``.
    """

    file: Path
    dtype: str
    values: Array
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, file: Path, dtype: str) -> Column:
        """The column in a file, with the starts of its rows beside it."""
        starts = np.fromfile(file.with_suffix(".starts"), np.int64)
        count = int(starts[-1])
        if count == 0:  # an empty file cannot be mapped
            return cls(file, dtype, np.zeros(0, dtype), starts)
        return cls(file, dtype, np.memmap(file, dtype=np.dtype(dtype), mode="r", shape=(count,)), starts)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Column.of, (self.file, self.dtype))

    def row(self, index: int) -> Array:
        """The numbers of a row."""
        return self.values[self.starts[index] : self.starts[index + 1]]

    def take(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Numbers by their places among those of all rows."""
        return self.values[places].astype(np.int64)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """How many numbers each row has."""
        return np.diff(self.starts)


AnyColumn = Column | Mapped


@dataclass(frozen=True, slots=True)
class Store:
    """Encoded examples.

    Attributes:
        columns: by name.
        hashes: ``uint64 [rows]``, of what is given in each row: equal ones have equal ones.
        tokenizers: which made them, by the file that each is kept in.
        source: fingerprint of the records.
        way: fingerprint of how they were encoded.
        labels: names of classes, where the task has any.
        settled: what is trained on of examples that other sources have too.
    """

    columns: Mapping[str, AnyColumn]
    hashes: npt.NDArray[np.uint64]
    tokenizers: Mapping[str, Tokenizer]
    source: str
    way: str
    labels: Sequence[str]
    settled: Settled = NOTHING

    def __len__(self) -> int:
        return len(self.hashes)

    def row(self, index: int) -> dict[str, Array]:
        """The columns of one row."""
        return {name: column.row(index) for name, column in self.columns.items()}


def open_store(folder: Path) -> Store | None:
    """The examples in a folder, or None where there are none yet.

    Raises:
        CheckpointError: FX1201, the folder is damaged.
    """
    recover(folder)
    if not folder.exists():
        return None
    try:
        meta = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        tokenizers = {
            name: Tokenizer.load(folder / name, separator=separator) for name, separator in meta["tokenizers"].items()
        }
        columns = {name: Column.of(folder / f"{name}.bin", dtype) for name, dtype in meta["columns"].items()}
        hashes = np.fromfile(folder / "hashes.bin", np.uint64)
        labels = [str(label) for label in meta["labels"]]
        source, way = str(meta["source"]), str(meta["way"])
        if any(len(column.starts) != len(hashes) + 1 for column in columns.values()):
            raise ValueError("columns of different lengths")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError.of(
            "FX1201", f"{folder} holds no encoded data", expected=f"{MARKER} and the files that it names",
            found=error.problems[0].found if isinstance(error, UserError) else str(error),
            cure="delete the folder; it is made again",
        ) from error  # fmt: skip
    return Store(columns, hashes, tokenizers, source, way, labels)


def make_store(
    folder: Path, rows: Iterable[tuple[Row, int]], *, size: int, tokenizers: Mapping[str, Tokenizer],
    source: str, way: str, by: Sequence[str], labels: Sequence[str] = (), on_progress: OnProgress | None = None,
) -> Store:  # fmt: skip
    """Write encoded examples into a folder, replacing those in it.

    Args:
        folder: where.
        rows: each example's columns, the same ones in each and of one dtype, and how much has been read with it.
        size: how much there is to read.
        tokenizers: which made them, by file name.
        source: fingerprint of the records.
        way: fingerprint of how they are encoded.
        by: columns that say which rows are equal, so that they are held out together: what is given, not the labels.
        labels: names of classes.
        on_progress: told of what has been read.

    Raises:
        UserError: what ``rows`` raises, or FX1304: the folder cannot be written.
    """
    with writing(folder, marker=MARKER, force=True) as temporary, ExitStack() as stack:
        writers: dict[str, _Writer] = {}
        hashes = array("Q")
        for row, done in rows:
            for name, values in row.items():
                if name not in writers:
                    file = stack.enter_context((temporary / f"{name}.bin").open("wb"))
                    writers[name] = _Writer(file, values.dtype)
                writers[name].add(values)
            hashes.append(row_hash({name: row[name] for name in by}))
            if on_progress is not None:
                on_progress("encoding", done, size)
        stack.close()
        for name, writer in writers.items():
            with (temporary / f"{name}.starts").open("wb") as file:
                np.concatenate([[0], np.cumsum(writer.lengths, dtype=np.int64)]).tofile(file)
        with (temporary / "hashes.bin").open("wb") as file:
            hashes.tofile(file)
        columns = {name: writer.dtype.name for name, writer in writers.items()}
        _describe(temporary, tokenizers=tokenizers, source=source, way=way, labels=labels, columns=columns)
    store = open_store(folder)
    assert store is not None
    return store


def make_index(
    folder: Path, found: TokenFiles, *, limit: int, tokenizers: Mapping[str, Tokenizer], way: str,
    on_progress: OnProgress | None = None,
) -> Store:  # fmt: skip
    """Write where the documents of files of token ids are into a folder, replacing what is in it; the ids stay there.

    Args:
        folder: where.
        found: the files.
        limit: ids from here on are in no vocabulary.
        tokenizers: by file name.
        way: fingerprint of how they are read.
        on_progress: told of what has been read.

    Raises:
        UserError: FX1611, an id is beyond the vocabulary; FX1607, a file is damaged; FX1304: the folder cannot be
            written.
    """
    with writing(folder, marker=MARKER, force=True) as temporary:
        with (temporary / "ids.starts").open("wb") as starts, (temporary / "hashes.bin").open("wb") as hashes:
            for index, done in found.index(limit):
                index.starts.tofile(starts)
                index.hashes.tofile(hashes)
                if on_progress is not None:
                    on_progress("looking through token ids", done, found.size)
            np.asarray([found.size], np.int64).tofile(starts)
        _describe(temporary, tokenizers=tokenizers, source=found.fingerprint, way=way, labels=(), columns={})
    store = open_store(folder)
    assert store is not None
    return store


def with_ids(store: Store, folder: Path, found: TokenFiles) -> Store:
    """A store of :func:`make_index` in a folder, with the ids, wherever their files lie now."""
    return replace(store, columns={"ids": Mapped(found.files, folder / "ids.starts")})


def _describe(
    folder: Path, *, tokenizers: Mapping[str, Tokenizer], source: str, way: str, labels: Sequence[str],
    columns: Mapping[str, str],
) -> None:  # fmt: skip
    """Write the tokenizers, and the file that says what else is there."""
    for name, tokenizer in tokenizers.items():
        (folder / name).write_text(tokenizer.dumps(), encoding="utf-8")
    meta = {
        "flexit": flexit.__version__, "source": source, "way": way, "labels": list(labels),
        "columns": dict(columns),
        "tokenizers": {name: tokenizer.separator for name, tokenizer in tokenizers.items()},
        "files": sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".starts", ".json")),
    }  # fmt: skip
    (folder / MARKER).write_text(json.dumps(meta, indent=1), encoding="utf-8")


def predicted_size(
    records: Iterable[tuple[Mapping[str, Any], str, int]], encode: Callable[[Mapping[str, Any], str], Row], *, size: int
) -> int:
    """Bytes that records will take once they are encoded, as the first of them say.

    Args:
        records: values, place, and how much has been read with them.
        encode: gives the columns of one; long texts are cut before, and counted by their length.
        size: how much there is to read.
    """
    taken, read = 0.0, 1
    for number, (values, place, done) in enumerate(records):
        longest = max((len(value) for value in values.values() if isinstance(value, str)), default=0)
        short = {name: value[:SAMPLE] if isinstance(value, str) else value for name, value in values.items()}
        row = encode(short, place)
        taken += sum(column.nbytes for column in row.values()) * max(1.0, longest / SAMPLE) + 8 * (len(row) + 1)
        read = max(1, done)
        if number >= SAMPLES or taken >= 16 * SAMPLE:
            break
    return int(taken * size / read)


class _Writer:
    """A column that is written row by row."""

    def __init__(self, file: BinaryIO, dtype: np.dtype[Any]) -> None:
        self.file = file
        self.dtype = dtype
        self.lengths = array("q")

    def add(self, values: Array) -> None:
        assert values.dtype == self.dtype, (values.dtype, self.dtype)
        self.file.write(values.tobytes())
        self.lengths.append(len(values))


def row_hash(row: Row) -> int:
    """Of the numbers of a row, the same on every machine."""
    found = hashlib.blake2b(digest_size=8)
    for name in sorted(row):
        found.update(name.encode() + b"\0" + row[name].tobytes())
    return int.from_bytes(found.digest(), "little")
