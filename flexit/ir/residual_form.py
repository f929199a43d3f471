"""How the branches of a layer and its skip are joined, as the language says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from flexit.ir.block import Fault, Norm
from flexit.ir.blocks._residual import Branch, Place, Sublayer
from flexit.ir.edges import Sequence
from flexit.ir.language import Kind, PositiveFloat
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expander import Expander


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """What a form joins: the sub-layers of one layer and what stands around each.

    Attributes:
        present: names of the sub-layers that are there.
        steps: the names in order, a repeated one for each use.
        ordered: whether that order was written.
        places: where norms stand.
        norm_on: the sub-layers that are normed.
        run: ``(e, x, name=, path=)``: the values of a sub-layer, its parameters at ``path``.
    """

    present: tuple[str, ...]
    steps: tuple[str, ...]
    ordered: bool
    norm: Norm | None
    places: tuple[Place, ...]
    norm_on: tuple[str, ...]
    dropout: float
    run: Callable[..., Value]

    def branch(self, name: str, path: str, *, layer_scale: float | None) -> Branch:
        """What stands around the sub-layer ``name`` at ``path``."""
        return Branch(
            norm=self.norm, places=self.places if name in self.norm_on else (), prefix=f"{path}_",
            layer_scale=layer_scale, dropout=self.dropout,
        )  # fmt: skip


class ResidualForm(Kind, family="Residual"):
    """How branches and skips are joined."""

    ordered: ClassVar[bool] = True
    """Whether sub-layers come one after the other."""

    def check(self, branches: Branches) -> Iterator[Fault]:
        """Faults of the form in its layer, whose fields they name."""
        raise NotImplementedError

    def expand(self, e: Expander, x: Sequence, branches: Branches) -> Sequence:
        """The layer."""
        raise NotImplementedError


class Sequential(ResidualForm, kind="sequential"):
    """One sub-layer after the other."""

    multiplier: PositiveFloat | dict[str, PositiveFloat] = 1.0
    """On the branch (Granite, MiniCPM); per sub-layer: {feed_forward: 0.5}."""
    skip_multiplier: PositiveFloat = 1.0
    """On the skip (DeepNorm)."""
    layer_scale: float | None = None
    """A learned vector on the branch, this its first value (CaiT)."""
    skip_from: Literal["input", "normed"] = "input"
    """normed: the skip starts after the input norm (a Bloom flag)."""

    def check(self, branches: Branches) -> Iterator[Fault]:
        named = self.multiplier if isinstance(self.multiplier, dict) else ()
        absent = [word for word in named if word not in branches.present]
        if absent:
            yield Fault(
                code="FX0506", field="residual.multiplier", message="names a sub-layer that is not there",
                expected=f"only {', '.join(branches.present)}", found=", ".join(absent),
                cure=f"take {absent[0]} out, or write that sub-layer",
            )  # fmt: skip
        if self.skip_from == "normed" and "input" not in branches.places:
            yield Fault(
                code="FX0501", field="residual.skip_from", message="has no effect",
                expected="input, since there is no norm at the input", found="normed", cure="delete residual.skip_from",
            )  # fmt: skip

    def expand(self, e: Expander, x: Sequence, branches: Branches) -> Sequence:
        counts: dict[str, int] = {}
        for name in branches.steps:
            counts[name] = counts.get(name, 0) + 1
            path = name if counts[name] == 1 else f"{name}_{counts[name]}"
            multiplier = self.multiplier.get(name, 1.0) if isinstance(self.multiplier, dict) else self.multiplier
            sublayer = Sublayer(
                branch=branches.branch(name, path, layer_scale=self.layer_scale), multiplier=multiplier,
                skip_multiplier=self.skip_multiplier, skip_from=self.skip_from,
            )  # fmt: skip
            x = sublayer.apply(e, x, partial(branches.run, e, name=name, path=path))
        return x
