"""One residual sub-layer, the formula that a layer and the ``residual`` block share:

x = residual_norm(skip * x + multiplier * output_norm(f(input_norm(x))))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from flexit.ir.block import Fault, Norm
from flexit.ir.edges import Sequence
from flexit.ir.expander import Expander
from flexit.ir.language import INFERRED
from flexit.ir.program import Value

Place = Literal["input", "output", "residual"]
NAMED: dict[str, tuple[Place, ...]] = {
    "pre": ("input",), "post": ("residual",), "sandwich": ("input", "output"), "reordered": ("output",),
}  # fmt: skip


def distinct(words: list[Any]) -> list[Any]:
    if len(set(words)) != len(words):
        raise PydanticCustomError("word_twice", "a word twice in a set", {})
    if not words:
        raise PydanticCustomError("empty_set", "an empty set", {})
    return words


Placement = Annotated[
    Literal["pre", "post", "sandwich", "reordered"] | Annotated[list[Place], AfterValidator(distinct)] | None,
    INFERRED,
]
"""Where norms stand: a name or a set of places; left out where there is no norm."""


def places(placement: str | list[Place] | None) -> tuple[Place, ...]:
    """The written-out form of a placement."""
    return NAMED[placement] if isinstance(placement, str) else tuple(placement or ())


def check_placement(norm: Norm | None, placement: object) -> Iterator[Fault]:
    """A norm needs a placement, and a placement a norm."""
    if norm is not None and placement is None:
        yield Fault(
            code="FX0504", field="norm_placement", message="required field is missing",
            expected="pre, post, sandwich or reordered, or a set of input, output, residual", found="nothing",
            cure="add norm_placement: pre",
        )  # fmt: skip
    if norm is None and placement is not None:
        yield Fault(
            code="FX0504", field="norm_placement", message="has no norm to place",
            expected="nothing, since norm is null", found=str(placement), cure="delete norm_placement, or write a norm",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sublayer:
    """How one branch is wrapped.

    Attributes:
        prefix: what the names of its norms and its layer scale begin with (``attention_``).
    """

    norm: Norm | None
    places: tuple[Place, ...]
    prefix: str
    multiplier: float = 1.0
    skip_multiplier: float = 1.0
    layer_scale: float | None = None
    skip_from: Literal["input", "normed"] = "input"
    dropout: float = 0.0

    def apply(self, e: Expander, x: Sequence, branch: Callable[[Sequence], Value]) -> Sequence:
        """The sub-layer around ``branch``."""
        e.residual_branch()
        h = x if "input" not in self.places else x.of(self._normed(e, x.x, "input"))
        skip = h.x if self.skip_from == "normed" else x.x
        y = branch(h)
        if "output" in self.places:
            y = self._normed(e, y, "output")
        if self.layer_scale is not None:
            first = [self.layer_scale] * x.width
            y = e.mul(y, e.parameter(f"{self.prefix}layer_scale", (x.width,), "layer_scale", first_value=first))
        y = e.mul(e.dropout(y, self.dropout), self.multiplier)
        total = e.add(e.mul(skip, self.skip_multiplier), y)
        return x.of(self._normed(e, total, "residual") if "residual" in self.places else total)

    def _normed(self, e: Expander, x: Value, place: Place) -> Value:
        assert self.norm is not None
        return self.norm.apply(e, x, f"{self.prefix}{place}_norm")
