"""What a source of token ids has found: files, and where documents begin in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flexit.errors import UserError
from flexit.runtime.train.data.arrays import ArrayFile
from flexit.runtime.train.data.files import Document, damaged, fingerprint

PIECE = 2**20
"""Numbers that are looked at together."""
Numbers = npt.NDArray[np.int64]


class Index(NamedTuple):
    """Where documents are.

    Attributes:
        starts: where each begins, counted through all files, and where the last ends.
        hashes: ``uint64``, of the ids of each: equal documents have equal ones.
    """

    starts: Numbers
    hashes: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class TokenFiles:
    """Files of token ids.

    Attributes:
        files: in the order of their hashes.
        offsets: beside each file, the one that says where its documents begin; or none for all.
        separator: the id that ends each document, or None.
    """

    files: Sequence[ArrayFile]
    offsets: Sequence[Document]
    separator: int | None

    @property
    def size(self) -> int:
        """Token ids there are."""
        return sum(len(file) for file in self.files)

    @property
    def fingerprint(self) -> str:
        """sha256 over the contents, hexadecimal."""
        found = [Document(file.path, file.sha256) for file in self.files]
        return fingerprint([*found, *self.offsets])

    def predicted_size(self) -> int:
        """Bytes that an index of them will take, where separators divide by a guess of 500 tokens a document."""
        documents = sum(file.shape[0] if len(file.shape) == 2 else 1 for file in self.files)
        documents += sum(each.path.stat().st_size // 8 for each in self.offsets)
        return 16 * (documents + (self.size // 500 if self.separator is not None else 0))

    def index(self, limit: int) -> Iterator[tuple[Index, int]]:
        """Look all files through, one after the other.

        Args:
            limit: ids from here on are in no vocabulary.

        Yields:
            Where the documents of a file are, and how many ids have been looked at.

        Raises:
            UserError: FX1611, an id is beyond the vocabulary; FX1607, offsets are damaged.
        """
        before = 0
        for number, file in enumerate(self.files):
            ends = self._ends(file, number, limit)
            starts = np.concatenate([[0], ends]).astype(np.int64)[:-1]
            hashes = [_hash(file.values[first:last]) for first, last in zip(starts, ends, strict=True)]
            yield Index(starts + before, np.asarray(hashes, np.uint64)), before + len(file)
            before += len(file)

    def _ends(self, file: ArrayFile, number: int, limit: int) -> Numbers:
        """Where the documents of a file end."""
        found: list[Any] = [np.asarray([len(file)] if len(file) else [], np.int64)]
        if self.offsets:
            found.append(_offsets(self.offsets[number].path, len(file))[1:])
        if len(file.shape) == 2 and len(file):
            found.append(np.arange(file.shape[1], len(file) + 1, file.shape[1]))
        for begin in range(0, len(file), PIECE):
            piece = file.values[begin : begin + PIECE]
            if int(piece.max()) >= limit or int(piece.min()) < 0:
                raise _beyond(file, piece, begin=begin, limit=limit)
            if self.separator is not None:
                found.append(np.flatnonzero(piece == self.separator) + (begin + 1))
        ends = np.unique(np.concatenate(found))
        return ends[ends > 0]


def _offsets(path: Path, count: int) -> Numbers:
    """Where documents begin, as a file says.

    Raises:
        UserError: FX1607, it says something else.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise damaged(str(path), expected="integers in NumPy's format", found=str(error).split("\n")[0]) from error
    if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype.kind not in "iu":
        raise damaged(str(path), expected="integers on one axis", found=f"{getattr(found, 'dtype', type(found))}")
    steps = found.astype(np.int64)
    if len(steps) == 0 or steps[0] != 0 or steps[-1] != count or (np.diff(steps) < 0).any():
        said = f"{steps[0]} up to {steps[-1]}" if len(steps) else "none"
        falls = ", not rising" if (np.diff(steps) < 0).any() else ""
        raise damaged(
            str(path), expected=f"0 up to {count}, the number of tokens, never falling", found=f"{said}{falls}"
        )
    return steps


def _beyond(file: ArrayFile, piece: npt.NDArray[Any], *, begin: int, limit: int) -> UserError:
    index = int(np.flatnonzero((piece >= limit) | (piece < 0))[0])
    return UserError.of(
        "FX1611", f"{file.path}: the token {begin + index} is in no vocabulary", path="files",
        expected=f"ids from 0 to {limit - 1}, of the model and its tokenizer", found=str(int(piece[index])),
        cure=f"name the model and tokenizer that the ids are for, or correct dtype, which is {piece.dtype.name}",
    )  # fmt: skip


def _hash(ids: npt.NDArray[Any]) -> int:
    """Of ids, the same on every machine and for every width."""
    found = hashlib.blake2b(digest_size=8)
    for begin in range(0, len(ids), PIECE):
        found.update(ids[begin : begin + PIECE].astype("<u4").tobytes())
    return int.from_bytes(found.digest(), "little")
