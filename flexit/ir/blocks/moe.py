"""``moe``: a feed-forward chosen per token from many (Shazeer et al. 2017; Mixtral's routing)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from flexit.ir.block import Block, Fault, FeedForward
from flexit.ir.blocks._router import Router
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import PositiveInt


class Moe(FeedForward, kind="moe"):
    """Sum over the chosen experts of weight * expert(x), + shared(x)."""

    formula = "y = sum over the top_k experts e of w_e(x) f_e(x), + shared(x)"
    source = (
        "Shazeer et al. 2017, arXiv 1701.06538; Jiang et al. 2024 (Mixtral), arXiv 2401.04088; groups and bias: "
        "DeepSeek-AI 2024 (V3), arXiv 2412.19437"
    )
    also_called: ClassVar[Mapping[str, str]] = {"mixture_of_experts": "", "sparse_moe": "", "switch": "top_k: 1"}
    later: ClassVar[tuple[str, ...]] = ("capacity",)
    examples = (
        {"kind": "moe", "n_experts": 4, "top_k": 2, "expert": {"kind": "gated_mlp", "d_ff": 16}},
        {
            "kind": "moe", "n_experts": 3, "top_k": 1, "expert": {"kind": "mlp", "d_ff": 16, "bias": True},
            "router": {"normalize": True, "bias": True, "scale": 2.0},
        },
        {
            "kind": "moe", "n_experts": 8, "top_k": 3, "expert": {"kind": "gated_mlp", "d_ff": 12},
            "router": {
                "score": "sigmoid", "selection_bias": True, "normalize": True, "scale": 1.5,
                "groups": {"n_groups": 4, "top_k": 2, "score": "top2_sum"},
            },
            "shared": {"kind": "gated_mlp", "d_ff": 10},
        },
        {
            "kind": "moe", "n_experts": 4, "top_k": 2, "expert": {"kind": "gated_mlp", "d_ff": 12},
            "router": {"score": "none", "after_top_k": "sigmoid", "weight_on": "input"},
            "shared": {"kind": "mlp", "d_ff": 10}, "shared_gate": True,
        },
    )  # fmt: skip

    n_experts: Annotated[int, Field(ge=1, le=100_000)]
    """Experts to choose from."""
    top_k: PositiveInt
    """Experts chosen per token."""
    expert: FeedForward
    """The feed-forward that every expert is."""
    router: Router = Field(default_factory=Router)
    """How experts are scored, chosen and weighted."""
    shared: FeedForward | None = None
    """Runs for every token; n shared experts are one of n times the width."""
    shared_gate: bool = False
    """Times sigmoid(w x) (Qwen2-MoE)."""

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        return (self.expert, path[1:]) if path[0] == "experts" else super().child(path)

    def check(self) -> Iterator[Fault]:
        yield from self.router.check_for(self.n_experts, self.top_k)
        if self.expert.kind == self.kind:
            yield Fault(
                code="FX0204", field="expert", message="experts cannot be mixtures themselves",
                expected="a dense feed-forward", found=self.kind, cure="use a dense kind for expert",
            )  # fmt: skip
        if self.shared_gate and self.shared is None:
            yield Fault(
                code="FX0501", field="shared_gate", message="has no effect", expected="false, since shared is null",
                found="true", cure="delete shared_gate, or write shared",
            )  # fmt: skip

    def expand(self, e: Expander, x: Sequence) -> Sequence:
        router = self.router
        logits = e.linear(x.x, self.n_experts, "router", bias=router.bias, role="router")
        e.side("router_logits", logits)
        weights, index = router.choose(e, logits, self.top_k)
        y = e.experts(
            x, self.expert, "experts", n_experts=self.n_experts, index=index, weights=weights,
            weight_on=router.weight_on,
        )  # fmt: skip
        if self.shared is None:
            return x.of(y)
        always: Sequence = e.main(self.shared, "shared", x=x)
        if self.shared_gate:
            gate = e.unary("sigmoid", e.linear(x.x, 1, "shared_gate", role="gate"))
            return x.of(e.add(y, e.mul(always.x, gate)))
        return x.of(e.add(y, always.x))
