"""``learned``: a trained row per position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from flexit.ir.expansion.edges import Axis, Tokens
from flexit.ir.language.kinds import PositiveInt
from flexit.ir.positions.base import Ids, Position, Rank
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Learned(Position, kind="learned"):
    """Trained table of ``max_len + offset`` rows, and ``pad_id + 1`` more with ``non_pad_cumsum``."""

    formula = "y_t = x_t + P[p_t + offset]"
    source = "Gehring et al. 2017, arXiv 1705.03122; Devlin et al. 2019, arXiv 1810.04805"
    also_called: ClassVar[Mapping[str, str]] = {"absolute": "", "trained": "", "embedding": ""}

    max_len: PositiveInt
    """Longest sequence."""
    offset: Annotated[int, Field(ge=0)] = 0
    """Added to every position id (2: OPT, BART)."""
    ids: Ids = Rank()
    """The position ids where none are passed."""

    @property
    def max_positions(self) -> int | None:
        return self.max_len

    def expand(self, e: Expander, axis: Axis, width: int, *, tokens: Tokens | None = None) -> Value:
        ids = self.ids.of(e, axis, tokens)
        ids = ids if self.offset == 0 else e.add(ids, float(self.offset))
        rows = self.max_len + self.offset + self.ids.first
        return e.embedding(ids, "positions", rows=rows, width=width, role="position")
