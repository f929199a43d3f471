"""Where training data comes from: a source gives records, each a mapping of columns to values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from flexit.ir.language.kinds import Kind


class Record(NamedTuple):
    """One example or one document.

    Attributes:
        values: by column.
        place: where it stands, for messages (``notes.jsonl:12``).
        done: how much of :attr:`Records.size` has been read with it.
    """

    values: Mapping[str, Any]
    place: str
    done: int


class Records(Protocol):
    """What a source has found.

    Attributes:
        size: how much there is to read, in bytes or rows.
        fingerprint: sha256 over the contents, hexadecimal: other data has another one.
    """

    size: int
    fingerprint: str

    def __iter__(self) -> Iterator[Record]:
        """Every record, in an order that depends on the contents alone.

        Raises:
            UserError: FX1601 or FX1607, a file cannot be read or is damaged; FX1602, it is not UTF-8.
        """
        ...


class Source(Kind, family="Source", package="flexit.runtime.train.data.sources"):
    """Where training data comes from."""

    def open(self, base: Path) -> Records:
        """Find the data; nothing of it is kept in memory.

        Args:
            base: folder that paths are relative to.

        Raises:
            UserError: FX1601, there is none; FX1608, a library that reads it is not installed.
        """
        raise NotImplementedError
