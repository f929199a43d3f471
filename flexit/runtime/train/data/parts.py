"""The sources of a run, opened: each a part with a folder of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexit.runtime.train.data.files import located
from flexit.runtime.train.data.source import Leaf, Record, Records, Source
from flexit.runtime.train.data.token_files import TokenFiles


@dataclass(frozen=True, slots=True)
class Part:
    """A source that is no mixture, opened.

    Attributes:
        leaf: the source and its place in the run config.
        found: what it has found.
        folder: the name of the folder that it is encoded in.
    """

    leaf: Leaf
    found: Records | TokenFiles
    folder: str

    @property
    def size(self) -> int:
        """How much there is to read."""
        return self.found.size

    @property
    def way(self) -> dict[str, Any]:
        """How it is read, as JSON data, without the names of what it is read from."""
        written = self.leaf.source.model_dump()
        return {"kind": self.leaf.source.kind} | {k: v for k, v in written.items() if k not in ("files", "path")}

    def __iter__(self) -> Iterator[Record]:
        """Every record; of token ids there are none. Messages say where the source stands.

        Raises:
            UserError: as the source says.
        """
        if not isinstance(self.found, TokenFiles):
            with located(self.leaf.path):
                yield from self.found


def parts_of(source: Source | None, path: str, *, base: Path, folder: str) -> list[Part]:
    """What a source of a run config is made of, opened.

    Args:
        source: the source, if there is one.
        path: where it stands.
        base: folder that paths are relative to.
        folder: the name of the folder of the first part; others have a number behind it.

    Raises:
        UserError: as :meth:`Source.open` says.
    """
    found: list[Part] = []
    for number, leaf in enumerate(() if source is None else source.leaves(path), 1):
        with located(leaf.path):
            name = folder if number == 1 else f"{folder}-{number}"
            found.append(Part(leaf, leaf.source.open(base), name))
    return found


def fingerprint_of(parts: Sequence[Part]) -> str:
    """Of all records and token ids."""
    each = [part.found.fingerprint for part in parts]
    return each[0] if len(each) == 1 else hashed(each)


def records_of(parts: Sequence[Part]) -> Iterator[Record]:
    """The records of all parts; ``done`` counts on from part to part."""
    before = 0
    for part in parts:
        for values, place, done in part:
            yield Record(values, place, before + done)
        before += part.size


def hashed(data: Any) -> str:
    """sha256 of JSON data, hexadecimal."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
