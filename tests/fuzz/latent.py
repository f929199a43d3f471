"""The rules of latent attention, with its parameters."""

from __future__ import annotations

from typing import Any

from tests.fuzz.edges import Edge, Outputs, Place
from tests.fuzz.score_bias import BiasRules

Data = dict[str, Any]


class LatentRules(BiasRules):
    """What is said of heads whose keys and values come from a latent."""

    def scaling(self, rotary: Data, dim: int, head_dim: int) -> None:
        raise NotImplementedError

    def scaling_alone(self, scaling: Data | None) -> None:
        raise NotImplementedError

    def mask_alone(self, mask: Data) -> None:
        raise NotImplementedError

    def mask_over(self, mask: Data, x: Edge) -> None:
        raise NotImplementedError

    def mla(self, b: Data, ports: Outputs, place: Place) -> Any:
        x, rotary, turning = ports.get("x"), b["rotary"], b["qk_rope_head_dim"]
        self.mask_alone(b["mask"])
        self.say("FX0501", when=rotary["dim"] is not None or b["scores"]["bias"] is not None)
        self.say("FX0511", when=b["scores"]["inverse_layer_scale"] and not place.layered)
        self.say("FX0405", when=turning % 2)
        self.say("FX0406", when=rotary["theta"] <= 1)
        self.scaling_alone(rotary["scaling"])
        if turning % 2 == 0 and rotary["dim"] is None:
            self.scaling(rotary, turning, turning)
        if x is None:
            return None
        self.mask_over(b["mask"], x)
        self._params(b, x.width, place)
        return x

    def _params(self, b: Data, width: int, place: Place) -> None:
        heads, rank, biased = b["n_heads"], b["kv_lora_rank"], b["bias"]
        queries = heads * (b["qk_nope_head_dim"] + b["qk_rope_head_dim"])
        if b["q_lora_rank"] is None:
            self.linear(place, "q_proj", (width, queries), bias=False, role="query_projection")
        else:
            self.linear(place, "q_a_proj", (width, b["q_lora_rank"]), bias=biased)
            self.norm(b["norm"], b["q_lora_rank"], place.at("q_a_norm"))
            self.linear(place, "q_b_proj", (b["q_lora_rank"], queries), bias=False, role="query_projection")
        self.linear(place, "kv_a_proj", (width, rank + b["qk_rope_head_dim"]), bias=biased)
        self.norm(b["norm"], rank, place.at("kv_a_norm"))
        self.linear(place, "kv_b_proj", (rank, heads * (b["qk_nope_head_dim"] + b["v_head_dim"])), bias=False)
        self.linear(place, "o_proj", (heads * b["v_head_dim"], width), bias=biased, role="residual_projection")
        if b["scores"]["sinks"] == "learned":
            self.param(place, "sinks", "sink", heads)
