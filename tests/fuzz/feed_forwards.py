"""The rules of feed-forwards, with their parameters."""

from __future__ import annotations

from typing import Any

from tests.fuzz.blocks import BlockRules, Data
from tests.fuzz.edges import Outputs, Place


class FeedForwardRules(BlockRules):
    """What is said of blocks that work on each position alone."""

    def mlp(self, b: Data, ports: Outputs, place: Place) -> Any:
        x = ports.get("x")
        self.norm(b["norm"], b["d_ff"], place.at("norm"))
        if x is None:
            return None
        bias = b["bias"] if isinstance(b["bias"], dict) else {"in": b["bias"], "out": b["bias"]}
        for name in ("up_proj", "gate_proj") if b["kind"] == "gated_mlp" else ("up_proj",):
            self.linear(place, name, (x.width, b["d_ff"]), bias=bias["in"])
        self.linear(place, "down_proj", (b["d_ff"], x.width), bias=bias["out"], role="residual_projection")
        self.slopes(b, place)
        return x

    gated_mlp = mlp

    def slopes(self, b: Data, place: Place, below: str = "") -> None:
        """What an activation learns."""
        for name in ("alpha_p", "alpha_n") if b["activation"] == "xielu" else ():
            self.param(place, f"{below}{name}", "", 1)

    def moe(self, b: Data, ports: Outputs, place: Place) -> Any:
        x, router, shared = ports.get("x"), b["router"], b["shared"]
        self.say("FX0404", when=b["top_k"] > self.candidates(b["n_experts"], router["groups"]))
        self.say("FX0511", when=router["after_top_k"] != "none" and router["score"] != "none")
        self.say("FX0501", when=router["after_top_k"] == "softmax" and router["normalize"])
        self.say("FX0501", when=b["shared_gate"] and shared is None)
        self.say("FX0204", when=b["expert"]["kind"] not in ("mlp", "gated_mlp"))
        if x is not None:
            self.linear(place, "router", (x.width, b["n_experts"]), bias=router["bias"], role="router")
            if router["selection_bias"]:
                self.param(place, "router.selection_bias", "", b["n_experts"])
            if b["shared_gate"]:
                self.linear(place, "shared_gate", (x.width, 1), bias=False, role="gate")
        self.block(b["expert"], {"x": x}, place.at("experts"))
        for path, param in self.found.below(place.at("experts").path).items():
            self.param(place, f"experts.{path}", param.role, b["n_experts"], *param.shape)
        if shared is not None:
            self.block(shared, {"x": x}, place.at("shared"))
        return x

    def candidates(self, n_experts: int, groups: Data | None) -> int:
        """How many experts a token may choose from."""
        if groups is None:
            return n_experts
        self.say("FX0404", when=n_experts % groups["n_groups"] or groups["top_k"] > groups["n_groups"])
        self.say("FX0406", when=groups["score"] == "top2_sum" and groups["n_groups"] == n_experts)
        return min(n_experts, n_experts // groups["n_groups"] * groups["top_k"])
