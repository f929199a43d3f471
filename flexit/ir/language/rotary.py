"""Rotation of queries and keys (RoPE, Su et al. 2021), as the language says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.expansion.edges import Axis
from flexit.ir.language.kinds import INFERRED, Group, PositiveFloat
from flexit.ir.program import Value
from flexit.ir.scaling.base import Scaling

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander

Style = Literal["half", "interleaved"]
Table = tuple[Value, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How one attention turns its queries and keys.

    Attributes:
        dim: channels that are turned, the first of each head.
        new: cosines and sines of this step's tokens.
        keys: those of all keys where keys are cached unrotated, since a longer row turns all of them anew; else None.
    """

    dim: int
    style: Style
    new: Table
    keys: Table | None = None

    def turned(self, e: Expander, h: Value, table: Table | None = None) -> Value:
        """Heads ``[batch, heads, length, head_dim]`` turned; by the table of this step's tokens, if no other."""
        return e.rotate(h, table or self.new, dim=self.dim, style=self.style)


class Rotary(Group):
    """Channel pair i of the first ``dim`` channels turns by p * theta^(-2i/dim)."""

    later: ClassVar[tuple[str, ...]] = ("xpos_base", "on_value")

    theta: PositiveFloat = 10000.0
    """Base of the frequencies, over 1."""
    style: Style = "half"
    """Pairs (i, i + dim/2) (Llama, NeoX), or (2i, 2i+1) (GPT-J, Cohere)."""
    dim: Annotated[Annotated[int, Field(ge=2)] | None, INFERRED] = None
    """Channels that turn; inferred: all of the head."""
    scaling: Scaling | None = None
    """Other frequencies, for texts longer than those of training."""

    def check(self) -> Iterator[Fault]:
        """Faults that the fields alone show, by their path below this group."""
        yield from check_theta(self.theta)
        if self.scaling is not None:
            yield from (_of_scaling(fault) for fault in self.scaling.check())

    def check_scaling(self, head_dim: int) -> Iterator[Fault]:
        """Faults of the scaling that show once the width of a head is known, by their path below the attention."""
        if self.scaling is None or any(self.check()):
            return
        for fault in self.scaling.check_for(dim=self.dim or head_dim, head_dim=head_dim, style=self.style):
            below = _of_scaling(fault)
            yield replace(below, field=f"rotary.{below.field}")

    @property
    def why_not_packed(self) -> str:
        """What its scaling would do to rows that several documents are packed into, if anything."""
        by_length = self.scaling is not None and self.scaling.by_length
        return "turns by the length of the whole row" if by_length else ""

    def rotation(self, e: Expander, axis: Axis, head_dim: int, *, causal: bool) -> Rotation:
        """The tables of one attention, made once for all that rotate alike.

        Args:
            e: what they are written with.
            axis: of the queries and keys.
            head_dim: channels of a head.
            causal: whether its keys are cached.
        """
        dim, scaling = self.dim or head_dim, self.scaling
        if scaling is None:
            return Rotation(dim=dim, style=self.style, new=e.rotary(axis, dim=dim, theta=self.theta))
        width = scaling.width(dim=dim, head_dim=head_dim)
        new = self._table(e, axis, axis.position_ids, head_dim=head_dim)
        late = scaling.by_length and causal
        keys = self._table(e, axis, e.key_ids(axis), head_dim=head_dim) if late else None
        return Rotation(dim=width, style=self.style, new=new, keys=keys)

    def _table(self, e: Expander, axis: Axis, ids: Value, *, head_dim: int) -> Table:
        """Cosines and sines at position ids, with scaled frequencies."""
        scaling = self.scaling
        assert scaling is not None
        dim = self.dim or head_dim
        length = e.extent(axis) if scaling.by_length else None

        def make() -> Table:
            if length is None:
                numbers = scaling.frequencies(theta=self.theta, dim=dim, head_dim=head_dim)
                frequencies = e.constant(numbers, (1, 1, len(numbers)))
            else:
                frequencies = scaling.stretched(e, length, theta=self.theta, dim=dim)
            angles = e.mul(e.reshape(e.cast(ids, "f32"), "=0", "=1", 1), frequencies)
            cos, sin = (e.mul(e.unary(fn, angles), scaling.amplitude) for fn in ("cos", "sin"))
            return cos, sin

        anchors = [ids] if length is None else [ids, length]
        return e.hoist(("rotary", self.theta, dim, head_dim, scaling), anchors, (), make=make)


def check_theta(theta: float) -> Iterator[Fault]:
    """A base of frequencies must be over 1, or they do not fall."""
    if theta <= 1:
        yield Fault(
            code="FX0406", field="theta", message="is no base of falling frequencies", expected="a number over 1",
            found=str(theta), cure="write 10000.0, or leave theta out",
        )  # fmt: skip


def _of_scaling(fault: Fault) -> Fault:
    return replace(fault, field=".".join(part for part in ("scaling", fault.field) if part))
