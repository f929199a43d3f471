"""Where training data comes from: a source gives records, each a mapping of columns to values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from flexit.ir.language.kinds import Kind

if TYPE_CHECKING:
    from flexit.runtime.train.data.token_files import TokenFiles


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


class Leaf(NamedTuple):
    """A source that is no mixture.

    Attributes:
        path: where it stands in the run config, such as ``data.train.sources.0.source``.
        source: the source.
        weight: its share of the rows, relative to others.
    """

    path: str
    source: Source
    weight: float


class Source(Kind, family="Source", package="flexit.runtime.train.data.sources"):
    """Where training data comes from."""

    encoded: ClassVar[bool] = False
    """Whether it gives token ids, not records."""

    def leaves(self, path: str, weight: float = 1.0) -> Iterator[Leaf]:
        """The sources that this one is made of: itself, unless it is a mixture.

        Args:
            path: where it stands in the run config.
            weight: of it.
        """
        yield Leaf(path, self, weight)

    def open(self, base: Path) -> Records | TokenFiles:
        """Find the data; nothing of it is kept in memory.

        Args:
            base: folder that paths are relative to.

        Raises:
            UserError: FX1601, there is none; FX1608, a library that reads it is not installed.
        """
        raise NotImplementedError
