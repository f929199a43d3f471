"""``moe``: a feed-forward chosen per token from many (Shazeer et al. 2017; Mixtral's routing)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import Field

from flexit.ir.block import Block, Fault, FeedForward
from flexit.ir.edges import Sequence
from flexit.ir.expander import Expander
from flexit.ir.language import Group, PositiveFloat, PositiveInt


class Router(Group):
    """logits -> score -> choice -> weights."""

    later: ClassVar[tuple[str, ...]] = ("selection_bias", "groups", "after_top_k", "weight_on")
    later_words: ClassVar[Mapping[str, tuple[str, ...]]] = {"score": ("sigmoid", "none")}

    bias: bool = False
    """On the logits."""
    score: Literal["softmax"] = "softmax"
    """Function of the logits before the choice."""
    normalize: bool = False
    """Divide the chosen weights by their sum."""
    scale: PositiveFloat = 1.0
    """Factor on the weights."""


class Moe(FeedForward, kind="moe"):
    """Sum over the chosen experts of weight * expert(x)."""

    later: ClassVar[tuple[str, ...]] = ("shared", "shared_gate", "capacity")
    examples = (
        {"kind": "moe", "n_experts": 4, "top_k": 2, "expert": {"kind": "gated_mlp", "d_ff": 16}},
        {
            "kind": "moe", "n_experts": 3, "top_k": 1, "expert": {"kind": "mlp", "d_ff": 16, "bias": True},
            "router": {"normalize": True, "bias": True, "scale": 2.0},
        },
    )  # fmt: skip

    n_experts: PositiveInt
    """Experts to choose from."""
    top_k: PositiveInt
    """Experts chosen per token."""
    expert: FeedForward
    """The feed-forward that every expert is."""
    router: Router = Field(default_factory=Router)
    """How experts are scored, chosen and weighted."""

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        return (self.expert, path[1:]) if path[0] == "experts" else super().child(path)

    def check(self) -> Iterator[Fault]:
        if self.top_k > self.n_experts:
            yield Fault(
                code="FX0404", field="top_k", message="is larger than n_experts",
                expected=f"at most n_experts, which is {self.n_experts}", found=str(self.top_k),
                cure=f"set top_k to {self.n_experts} or less",
            )  # fmt: skip
        if self.expert.kind == self.kind:
            yield Fault(
                code="FX0204", field="expert", message="experts cannot be mixtures themselves",
                expected="a dense feed-forward", found=self.kind, cure="use a dense kind for expert",
            )  # fmt: skip

    def expand(self, e: Expander, x: Sequence) -> Sequence:
        logits = e.linear(x.x, self.n_experts, "router", bias=self.router.bias, role="router")
        e.side("router_logits", logits)
        weights, index = e.top_k(e.softmax(logits), self.top_k)
        if self.router.normalize:
            weights = e.binary("div", weights, e.reduce("sum", weights, -1, keep=True))
        weights = e.mul(weights, self.router.scale)
        return x.of(e.experts(x, self.expert, "experts", n_experts=self.n_experts, index=index, weights=weights))
