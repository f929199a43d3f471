"""``stack``: one layer repeated, with variants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flexit.ir.block import Block, Fault, Norm
from flexit.ir.expansion.edges import Each, Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.expansion.reach import check_reach
from flexit.ir.language.kinds import Group, PositiveInt
from flexit.ir.language.layers import LayerPlan, check_variation, touched
from flexit.ir.language.template import Template
from flexit.ir.language.variation import Choice
from flexit.ir.score_bias.base import Bias
from flexit.ir.score_bias.shared import SharedBias
from flexit.ir.wording import divisors, either


class Share(Group):
    """Parameter sharing between the layers of one stack."""

    groups: PositiveInt
    """Distinct parameter sets, a divisor of n_layers."""
    order: Literal["consecutive", "cyclic"] = "consecutive"
    """Layer i uses set i * groups // n_layers, or i mod groups."""


class Stack(Block, kind="stack"):
    """``layer`` repeated ``n_layers`` times; the port ``layers`` is every layer's output, before ``final_norm``."""

    formula = "x_(i+1) = layer_i(x_i), i < n_layers;  y = final_norm(x_n)"
    source = (
        "Vaswani et al. 2017, arXiv 1706.03762; layers shared: Dehghani et al. 2019, arXiv 1807.03819, and Lan et al."
        " 2020, arXiv 1909.11942"
    )
    also_called: ClassVar[Mapping[str, str]] = {
        "encoder": "", "decoder": "", "layers": "", "transformer_encoder": "", "transformer_decoder": "",
    }  # fmt: skip
    more_outputs: ClassVar[tuple[str, ...]] = ("layers",)
    layer_outputs: ClassVar[tuple[str, ...]] = ("layers",)
    takes_extra_ports: ClassVar[bool] = True
    examples = (
        {
            "kind": "stack", "n_layers": 3,
            "layer": {"kind": "residual", "body": {"kind": "mlp", "d_ff": 24}, "norm": None},
            "variants": {"wide": {"body": {"d_ff": 32}}}, "pattern": ["default*2", "wide"], "final_norm": "rms_norm",
        },
    )  # fmt: skip

    n_layers: Annotated[int, Field(ge=1, le=100_000)]
    """How many layers."""
    layer: Template
    """Any block sequence to sequence of unchanged width."""
    variants: dict[str, Template] = Field(default_factory=dict)
    """Name to partial override of layer."""
    pattern: list[str | list[str]] = Field(default_factory=lambda: ["default"])
    """Which variants layer i gets by its place in the cycle."""
    layers: dict[str, str | list[str]] = Field(default_factory=dict)
    """Which variants layer i gets by its index, or by a range of indices, merged after those of pattern."""
    score_bias: Bias | None = None
    """One bias, its parameters shared by the self-attention of all layers (T5)."""
    final_norm: bool | Norm = False
    """true: one more norm like layer.norm."""
    share: Share | None = None
    """Parameter sharing between layers."""
    drop_path_rate: Literal["constant", "linear"] = "constant"
    """linear: the drop_path of layer i times i / max(n_layers - 1, 1)."""

    @cached_property
    def plan(self) -> LayerPlan:
        """The merged, validated layers."""
        return LayerPlan.of(self)

    @property
    def orders(self) -> bool:
        return self.score_bias is not None

    @property
    def open_stream(self) -> bool:
        return self.final_norm is False and self.plan.layer(self.n_layers - 1).open_stream

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        if path[0] == "layers":
            return self.plan.layer(int(path[1])), path[2:]
        if path[0] == "score_bias":
            return None if self.score_bias is None else self.score_bias.child(path[1:])
        norm = self._norm() if path[0] == "final_norm" else None
        return (norm, path[1:]) if norm is not None else None

    def check(self) -> Iterator[Fault]:
        yield from check_variation(self)
        if self.drop_path_rate != "constant" and not any(check_variation(self, effect=False)):
            yield from self._check_rate()
        if self.share is not None:
            yield from self._check_share(self.share)

    def _check_rate(self) -> Iterator[Fault]:
        if not any(_drop_path(layer) for _, layer, _ in self.plan.distinct()):
            yield Fault(
                code="FX0501", field="drop_path_rate", message="has no effect",
                expected="constant, since no layer has a drop_path", found=self.drop_path_rate,
                cure="delete drop_path_rate, or write drop_path in layer",
            )  # fmt: skip

    def _check_share(self, share: Share) -> Iterator[Fault]:
        """One layer in one group is a short form of a deeper model, and no mistake."""
        if self.n_layers % share.groups:
            yield Fault(
                code="FX0608", field="share.groups", message="does not divide n_layers",
                expected=f"a divisor of n_layers, which is {self.n_layers}: "
                + either(map(str, divisors(self.n_layers))),
                found=str(share.groups), cure="set share.groups to one of them",
            )  # fmt: skip
        if share.groups == self.n_layers > 1 and not touched(self):
            yield Fault(
                code="FX0501", field="share.groups", message="has no effect",
                expected=f"fewer than n_layers, which is {self.n_layers}{{line n_layers}}, so that some layers share",
                found=str(share.groups), cure="delete share, or lower share.groups",
            )  # fmt: skip
        if share.groups == 1 and share.order != "consecutive":
            yield Fault(
                code="FX0501", field="share.order", message="has no effect",
                expected="consecutive, since there is one set", found=share.order, cure="delete share.order",
            )  # fmt: skip

    def expand(self, e: Expander, x: Sequence, **others: Any) -> dict[str, Any]:
        shared = self._shared_bias(e, x)
        start = x
        outputs: list[Sequence] = []
        with e.providing("score_bias", shared or e.provided("score_bias")):
            counting = {choice: layer.counts_layers for choice, layer, _ in self.plan.distinct()}
            for index, choice in enumerate(self.plan.choices):
                layer = self._dropping(index)
                ports = {n: edge.edges[index] if isinstance(edge, Each) else edge for n, edge in others.items()}
                taken = {name: edge for name, edge in ports.items() if layer.takes_extra_ports or name in layer.inputs}
                with e.providing("layer_index", index if counting[choice] else None):
                    x = e.main(layer, f"layers.{index}", x=x, **taken)
                e.require_like(self, "layer", x, x=start)
                outputs.append(x)
        self._share_sets(e)
        self._check_shared(e, shared, start)
        final = self._final_norm(e)
        y = x if final is None else x.of(final.apply(e, x.x, "final_norm"))
        return {"last_hidden_state": y, "layers": outputs}

    def _dropping(self, index: int) -> Block:
        """Layer ``index``, of which the branches are dropped as often as its depth asks for."""
        layer = self.plan.layer(index)
        if self.drop_path_rate == "constant" or not _drop_path(layer):
            return layer
        rate = _drop_path(layer) * index / max(self.n_layers - 1, 1)
        return layer.model_copy(update={"drop_path": rate})

    def _share_sets(self, e: Expander) -> None:
        """Layers with one set of parameters have the same ones, in the same shapes, and use those of the first."""
        known: dict[tuple[int, Choice], bool] = {}
        for index in range(self.n_layers if self.share is not None else 0):
            owner = self._owner(index)
            if owner == index:
                continue
            key = (owner, self.plan.choices[index])
            if key not in known:
                known[key] = self._have_one_set(e, owner, index)
            if known[key]:
                e.share(f"layers.{index}", f"layers.{owner}")

    def _have_one_set(self, e: Expander, owner: int, index: int) -> bool:
        """Whether there are parameters to share.

        Raises:
            Unexpanded: the two layers have different ones.
        """
        first, other = e.parameters(f"layers.{owner}"), e.parameters(f"layers.{index}")
        path = next((path for path in (*first, *other) if first.get(path) != other.get(path)), None)
        if path is not None:
            e.refuse(self, Fault(
                code="FX0608", field="share", message=f"layers {owner} and {index} share, but differ in {path}",
                expected=f"{list(first[path])}, as layer {owner} has it" if path in first else "no such parameter",
                found=str(list(other[path])) if path in other else "no such parameter",
                cure="change share.groups, or give these layers the same parameters",
            ))  # fmt: skip
        return bool(first)

    def _owner(self, index: int) -> int:
        """The first layer with the parameter set of layer ``index``."""
        assert self.share is not None
        groups = self.share.groups
        if self.share.order == "cyclic":
            return index % groups
        return (index * groups // self.n_layers) * (self.n_layers // groups)

    def _norm(self) -> Norm | None:
        """The norm after the layers, if there is one."""
        if not isinstance(self.final_norm, bool):
            return self.final_norm
        norm = getattr(self.plan.layer(0), "norm", None) if self.final_norm else None
        return norm if isinstance(norm, Norm) else None

    def _final_norm(self, e: Expander) -> Norm | None:
        norm = self._norm()
        if self.final_norm is True and norm is None:
            e.refuse(self, Fault(
                code="FX0504", field="final_norm", message="there is no norm to repeat",
                expected="a norm, since layer has none", found="true", cure="write final_norm: rms_norm or layer_norm",
            ))  # fmt: skip
        return norm

    def _shared_bias(self, e: Expander, x: Sequence) -> SharedBias | None:
        if self.score_bias is None:
            return None
        if e.provided("score_bias") is not None:
            e.refuse(self, Fault(
                code="FX0503", field="score_bias", message="a second score bias for these layers",
                expected="one: the stack around this one has a score_bias for all of its layers",
                found=self.score_bias.kind,
                cure="delete score_bias here, or that of the stack around",
            ))  # fmt: skip
        return SharedBias(self.score_bias, x.x, (*e.draft.scope, "score_bias"))

    def _check_shared(self, e: Expander, shared: SharedBias | None, x: Sequence) -> None:
        if shared is None:
            return
        needs = shared.needs()
        if not needs:
            e.refuse(self, Fault(
                code="FX0503", field="score_bias", message="no self-attention reads it",
                expected="layers with self-attention", found="none", cure="delete score_bias",
            ))  # fmt: skip
        if len(needs) > 1:
            e.refuse(self, Fault(
                code="FX0507", field="score_bias", message="readers of one shared bias differ",
                expected="the same heads and sides in all layers that read it", found="; ".join(needs),
                cure="give each attention its own scores.bias",
            ))  # fmt: skip
        e.refuse(self, *shared.faults(), *check_reach("score_bias.max_len", shared.bias.max_positions, x))


def _drop_path(layer: Block) -> float:
    """How often a layer drops a branch."""
    return getattr(layer, "drop_path", 0.0)
