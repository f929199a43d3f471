"""One residual sub-layer, the formula that a layer and the ``residual`` block share:

x = residual_norm(skip * x + multiplier * output_norm(f(input_norm(x))))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator

from flexit.ir.block import Fault, Norm
from flexit.ir.expansion.edges import Sequence
from flexit.ir.language.kinds import INFERRED, distinct
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander

Place = Literal["input", "output", "residual"]
NAMED: dict[str, tuple[Place, ...]] = {
    "pre": ("input",), "post": ("residual",), "sandwich": ("input", "output"), "reordered": ("output",),
}  # fmt: skip


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
class Branch:
    """One branch and what stands around it: layer_scale * output_norm(f(input_norm(x))).

    Attributes:
        prefix: what the names of its norms and its layer scale begin with (``attention_``).
    """

    norm: Norm | None
    places: tuple[Place, ...]
    prefix: str
    layer_scale: float | None = None
    dropout: float = 0.0
    drop_path: float = 0.0

    def run(self, e: Expander, h: Sequence, body: Callable[[Sequence], Value]) -> Value:
        """What ``body`` makes of ``h``, ready to be added."""
        e.residual_branch()
        y = self.normed(e, body(h), "output")
        if self.layer_scale is not None:
            first = [self.layer_scale] * h.width
            y = e.mul(y, e.parameter(f"{self.prefix}layer_scale", (h.width,), "layer_scale", first_value=first))
        return e.dropout(e.dropout(y, self.dropout), self.drop_path, per_row=True)

    def normed(self, e: Expander, x: Value, place: Place) -> Value:
        """``x`` after the norm of a place, if there is one."""
        if self.norm is None or place not in self.places:
            return x
        return self.norm.apply(e, x, f"{self.prefix}{place}_norm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sublayer:
    """A branch and a skip."""

    branch: Branch
    multiplier: float = 1.0
    skip_multiplier: float = 1.0
    skip_from: Literal["input", "normed"] = "input"

    def apply(self, e: Expander, x: Sequence, body: Callable[[Sequence], Value]) -> Sequence:
        """The sub-layer around ``body``."""
        h = x.of(self.branch.normed(e, x.x, "input"))
        skip = h.x if self.skip_from == "normed" else x.x
        y = e.mul(self.branch.run(e, h, body), self.multiplier)
        return x.of(self.branch.normed(e, e.add(e.mul(skip, self.skip_multiplier), y), "residual"))
