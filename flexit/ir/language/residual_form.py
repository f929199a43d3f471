"""How the branches of a layer and its skip are joined, as the language says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from flexit.ir.block import Fault, Norm
from flexit.ir.blocks._residual import Branch, Place, Sublayer
from flexit.ir.expansion.edges import Sequence
from flexit.ir.language.kinds import Kind, PositiveFloat
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander

PAIR = ("attention", "feed_forward")
"""The sub-layers that can stand side by side."""
PLACES: tuple[set[Place], ...] = ({"input"}, {"input", "output"})
"""Where norms can stand then."""


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
    drop_path: float
    run: Callable[..., Value]

    def branch(self, name: str, path: str, *, layer_scale: float | None) -> Branch:
        """What stands around the sub-layer ``name`` at ``path``."""
        return Branch(
            norm=self.norm, places=self.places if name in self.norm_on else (), prefix=f"{path}_",
            layer_scale=layer_scale, dropout=self.dropout, drop_path=self.drop_path,
        )  # fmt: skip


class ResidualForm(Kind, family="Residual"):
    """How branches and skips are joined."""

    ordered: ClassVar[bool] = True
    """Whether sub-layers come one after the other."""

    def check(self, branches: Branches) -> Iterator[Fault]:
        """Faults of the form in its layer, whose fields they name."""
        del branches
        yield from ()

    def expand(self, e: Expander, x: Sequence, branches: Branches) -> Sequence:
        """The layer."""
        raise NotImplementedError


class Sequential(ResidualForm, kind="sequential"):
    """One sub-layer after the other."""

    formula = "x = skip x + multiplier f(x), one sub-layer f after the other"
    source = "He et al. 2016, arXiv 1512.03385; skip as in DeepNorm: Wang et al. 2022, arXiv 2203.00555"
    also_called: ClassVar[Mapping[str, str]] = {"serial": ""}
    usual: ClassVar[bool] = True

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


class Parallel(ResidualForm, kind="parallel"):
    """Attention and feed-forward side by side: skip * x + multiplier * (attention(norm(x)) + feed_forward(norm(x)))."""

    formula = "y = skip x + multiplier (attention(norm(x)) + feed_forward(norm(x)))"
    source = "Wang and Komatsuzaki 2021 (GPT-J); Black et al. 2022 (GPT-NeoX), arXiv 2204.06745"
    ordered: ClassVar[bool] = False

    norms: Literal["shared", "separate"] = "shared"
    """One norm before both (GPT-J, Phi), or one before each (GPT-NeoX, Falcon-40b)."""
    multiplier: PositiveFloat = 1.0
    """On the sum of the branches."""
    skip_multiplier: PositiveFloat = 1.0
    """On the skip."""
    layer_scale: float | None = None
    """A learned vector on each branch, this its first value."""

    def check(self, branches: Branches) -> Iterator[Fault]:
        if branches.present and branches.present != PAIR:
            yield Fault(
                code="FX0505", field="residual", message="joins exactly attention and feed_forward",
                expected="both of them, and no other sub-layer", found=", ".join(branches.present),
                cure="write residual: sequential, or " + _missing(branches.present),
            )  # fmt: skip
        if branches.ordered:
            yield Fault(
                code="FX0505", field="order", on_key=True, message="there is no order side by side",
                expected="nothing, since residual is parallel{line residual}", found=", ".join(branches.steps),
                cure="delete order, or write residual: sequential",
            )  # fmt: skip
        if branches.norm is not None and branches.places and set(branches.places) not in PLACES:
            yield Fault(
                code="FX0505", field="norm_placement", message="not for branches side by side",
                expected="pre or sandwich, since residual is parallel{line residual}",
                found=", ".join(branches.places), cure="write norm_placement: pre, or residual: sequential",
            )  # fmt: skip
        normed = branches.norm_on if branches.norm is not None else ()
        if self.norms == "separate" and len(normed) < len(PAIR):
            yield Fault(
                code="FX0501", field="residual.norms", message="has no effect",
                expected="shared, since not both branches are normed", found="separate", cure="delete residual.norms",
            )  # fmt: skip

    def expand(self, e: Expander, x: Sequence, branches: Branches) -> Sequence:
        shared: Sequence | None = None
        total: Value | None = None
        for name in PAIR:
            branch = branches.branch(name, name, layer_scale=self.layer_scale)
            if self.norms == "separate" or branch.norm is None or "input" not in branch.places:
                h = x.of(branch.normed(e, x.x, "input"))
            else:
                h = shared = shared or x.of(branch.norm.apply(e, x.x, "input_norm"))
            y = branch.run(e, h, partial(branches.run, e, name=name, path=name))
            total = y if total is None else e.add(total, y)
        assert total is not None
        return x.of(e.add(e.mul(x.x, self.skip_multiplier), e.mul(total, self.multiplier)))


def _missing(present: tuple[str, ...]) -> str:
    """What the user may write instead to keep the parallel form."""
    absent = [name for name in PAIR if name not in present]
    return f"add {' and '.join(absent)}" if absent else f"take {present[1]} out"
