"""What an additive position table is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flexit.ir.block import Fault
from flexit.ir.edges import Axis
from flexit.ir.language import Kind
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expander import Expander


class Ids(Kind, family="Ids"):
    """The position ids where the caller passes none."""

    def of(self, e: Expander, axis: Axis) -> Value:
        """``i64[batch or 1, seq]``."""
        raise NotImplementedError


class Rank(Ids, kind="rank"):
    """Unpadded tokens before this one, from ``attention_mask`` (also OPT)."""

    def of(self, e: Expander, axis: Axis) -> Value:
        del e
        return axis.position_ids


class Slot(Ids, kind="slot"):
    """Order of arrival in the row, pads counted (BERT, ELECTRA, ALBERT, BART)."""

    def of(self, e: Expander, axis: Axis) -> Value:
        return e.slot_ids(axis)


class Position(Kind, family="Position", package="flexit.ir.positions"):
    """A table added to embeddings."""

    @property
    def max_positions(self) -> int | None:
        """The longest sequence, if there is one."""
        return None

    def check(self) -> Iterator[Fault]:
        """Faults that the fields alone show."""
        yield from ()

    def check_width(self, width: int) -> Iterator[Fault]:
        """Faults of a table of this width; the field is the ``d_model`` that says it."""
        del width
        yield from ()

    def expand(self, e: Expander, axis: Axis, width: int) -> Value:
        """``[batch or 1, seq, width]``, with parameters ``positions`` below the current path."""
        raise NotImplementedError
