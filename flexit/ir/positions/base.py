"""What an additive position table is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.expansion.edges import Axis, Tokens
from flexit.ir.language.kinds import Kind
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


class Ids(Kind, family="Ids"):
    """The position ids where the caller passes none."""

    reads_tokens: ClassVar[bool] = False
    """Whether they follow from token ids, which a sequence no longer has."""

    @property
    def first(self) -> int:
        """The id of the first token."""
        return 0

    def of(self, e: Expander, axis: Axis, tokens: Tokens | None = None) -> Value:
        """``i64[batch, seq]``; ``tokens`` are those of the axis, where they are known."""
        raise NotImplementedError


class Rank(Ids, kind="rank"):
    """Unpadded tokens before this one, from ``attention_mask`` (also OPT)."""

    formula = "p_t = number of unpadded tokens before t"
    source = "Hugging Face's generate: cumsum(attention_mask) - 1"

    def of(self, e: Expander, axis: Axis, tokens: Tokens | None = None) -> Value:
        del e, tokens
        return axis.position_ids


class Slot(Ids, kind="slot"):
    """Order of arrival in the row, pads counted (BERT, ELECTRA, ALBERT, BART)."""

    formula = "p_t = t"
    source = "Devlin et al. 2019, arXiv 1810.04805"

    def of(self, e: Expander, axis: Axis, tokens: Tokens | None = None) -> Value:
        del tokens
        return e.slot_ids(axis)


class NonPadCumsum(Ids, kind="non_pad_cumsum"):
    """Running count of tokens that are not ``pad_id``, + ``pad_id`` (RoBERTa, MPNet, M2M, ESM)."""

    formula = "p_t = pad_id + number of tokens other than pad_id up to t, pad_id where the token is pad_id or hidden"
    source = "fairseq's make_positions; Hugging Face's create_position_ids_from_input_ids"
    reads_tokens: ClassVar[bool] = True

    pad_id: Annotated[int, Field(ge=0)]
    """The token that is not counted; what the mask hides is not counted either."""

    @property
    def first(self) -> int:
        return self.pad_id + 1

    def of(self, e: Expander, axis: Axis, tokens: Tokens | None = None) -> Value:
        assert tokens is not None and tokens.axis is axis, "a block without tokens refuses these ids"
        return e.counted_ids(tokens, pad_id=self.pad_id)


class Position(Kind, family="Position", package="flexit.ir.positions"):
    """A table added to embeddings."""

    @property
    def reads_tokens(self) -> bool:
        """Whether its position ids follow from token ids."""
        ids: Ids | None = getattr(self, "ids", None)
        return ids is not None and ids.reads_tokens

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

    def expand(self, e: Expander, axis: Axis, width: int, *, tokens: Tokens | None = None) -> Value:
        """``[batch, seq, width]``, with parameters ``positions`` below the current path; ``tokens`` are those of
        the axis, where they are known.
        """
        raise NotImplementedError
