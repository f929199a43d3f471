"""What an embedding does with the rows of its table: a map to the model's width, and ESM's dropout of mask tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flexit.ir.expansion.edges import Tokens
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import Group, PositiveInt, Probability
from flexit.ir.program import Value


class Projection(Group):
    """A factorised table: its rows have another width than the model."""

    dim: PositiveInt
    """Width of the table's rows, not d_model."""
    bias: bool = False
    """Add a learned offset."""
    at: Literal["token", "sum"] = "sum"
    """``token``: before positions and types are added, which then have width d_model (OPT-350m); ``sum``: they have
    width dim.
    """


class TokenDropout(Group):
    """Rows of the mask token are zero, the others times (1 - ratio) / (1 - share of masked tokens in the row)."""

    mask_id: Annotated[int, Field(ge=0)]
    """Id of the mask token."""
    ratio: Probability = 0.12
    """Share of masked tokens in training."""

    def apply(self, e: Expander, x: Value, tokens: Tokens) -> Value:
        """The rows ``x`` of ``tokens``. Pads count on neither side of the share; a row of mask tokens alone is zero."""
        away = e.add(tokens.ids, -float(self.mask_id))
        other = e.binary("min", e.binary("max", away, e.mul(away, -1.0)), 1.0)
        valid = tokens.axis.new_mask
        all_, left = (e.cast(e.reduce("sum", some, 1, keep=True), "f32") for some in (valid, e.mul(other, valid)))
        factor = e.mul(e.binary("div", all_, e.binary("max", left, 1.0)), 1.0 - self.ratio)
        scale = e.mul(e.cast(other, "f32"), factor)
        return e.mul(x, e.like(e.reshape(scale, "=0", "=1", 1), x))
