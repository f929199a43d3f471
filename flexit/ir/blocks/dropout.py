"""``dropout``: zeroes channels in training (Srivastava et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from flexit.ir.block import Block, Port
from flexit.ir.expansion.edges import Sequence, Vector
from flexit.ir.expansion.expander import Expander


class Dropout(Block, kind="dropout"):
    """Zeroes each channel with probability p in training and scales the rest by 1 / (1 - p)."""

    formula = "training: y = x b / (1 - p), b ~ Bernoulli(1 - p);  evaluation: y = x"
    source = "Srivastava et al. 2014, JMLR 15"
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence", "vector"))}
    examples = ({"kind": "dropout", "p": 0.1},)

    p: Annotated[float, Field(gt=0, lt=1)]
    """Probability of zero."""

    def expand(self, e: Expander, x: Sequence | Vector) -> Sequence | Vector:
        return x.of(e.dropout(x.x, self.p))
