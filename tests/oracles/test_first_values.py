"""First values that depend on where a parameter stands: the depth of its stream, widths, slopes, branches that begin at
zero.
"""

import json
import math

import numpy as np
import pytest
import torch

from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import to_torch
from tests.oracles.cases.case import document
from tests.oracles.test_initialisation import FF, HEADS, LAYER, MOE, TABLE, VARIANTS, WIDTH, first_values

HALF = {"kind": "residual", "body": {"kind": "mlp", "d_ff": FF}, "norm": "rms_norm", "norm_placement": "pre"}
CROSSED = {**LAYER, "cross_attention": {"kind": "multi_head", "n_heads": 2}}
TWO_INPUTS = {"input_ids": "tokens", "decoder_input_ids": "tokens"}


def repeated(layer, n_layers, **more):
    return {"kind": "stack", "n_layers": n_layers, "layer": layer, **more}


TWO_STREAMS = {
    "embed": {**TABLE, "from": "input_ids"},
    "encoder": repeated({**LAYER, "attention": {**HEADS, "mask": "full"}}, 2),
    "target": {"kind": "embedding", "from": "decoder_input_ids", "tied_to": "embed"},
    "decoder": {**repeated(CROSSED, 3), "from": {"x": "target", "memory": "encoder"}},
}
DEPTHS = {
    "in sequence": ({"embed": TABLE, "body": repeated(LAYER, 3)}, "body.layers.2", 6),
    "side by side": ({"embed": TABLE, "body": repeated({**LAYER, "residual": "parallel"}, 3)}, "body.layers.0", 6),
    "macaron": (
        {"embed": TABLE, "body": repeated({**LAYER, "order": ["feed_forward", "attention", "feed_forward"]}, 2)},
        "body.layers.1", 6,
    ),
    "variants": (
        {"embed": TABLE, "body": repeated(LAYER, 4, variants={"one": {"attention": None}}, pattern=["default", "one"])},
        "body.layers.0", 6,
    ),
    "blocks before and after": (
        {"embed": TABLE, "first": HALF, "body": repeated(LAYER, 2), "last": HALF}, "body.layers.0", 6,
    ),
    "a stack of stacks": (
        {"embed": TABLE, "body": repeated({"kind": "graph", "blocks": {"inner": repeated(LAYER, 2), "more": HALF}}, 2)},
        "body.layers.1.inner.layers.0", 10,
    ),
    "one set of parameters": ({"embed": TABLE, "body": repeated(LAYER, 3, share={"groups": 1})}, "body.layers.0", 6),
    "an encoder": (TWO_STREAMS, "encoder.layers.0", 4),
    "a decoder": (TWO_STREAMS, "decoder.layers.2", 9),
}  # fmt: skip
"""Blocks, a layer of them, and how many residual branches lie between what it reads and the end."""


@pytest.mark.parametrize("name", DEPTHS)
def test_depth_counts_every_branch(name):
    blocks, layer, branches = DEPTHS[name]
    more = {"inputs": TWO_INPUTS} if "target" in blocks else {}
    init = {"projection": {"kind": "normal", "std": 0.5, "depth_scaled": True}}
    values = first_values(document(blocks, init=init, **more))
    array = values[f"{layer}.feed_forward.up_proj.weight"]
    assert array.std() == pytest.approx(0.5 / math.sqrt(branches), rel=5 / math.sqrt(2 * array.size))


@pytest.mark.parametrize("width", [32, 128])
@pytest.mark.parametrize("std", ["rsqrt_d_model", "rsqrt_fan_in"])
def test_width_rules_follow_the_width(width, std):
    """What muP asks of hidden weights: squares that fall with the inputs of a unit, or with the model's width."""
    mlp = {"kind": "mlp", "d_ff": 3 * width}
    blocks = {"embed": {**TABLE, "d_model": width}, "mlp": mlp}
    values = first_values(document(blocks, init={"projection": {"kind": "normal", "std": std}}))
    for side, fan_in in (("up", width), ("down", 3 * width)):
        array = values[f"mlp.{side}_proj.weight"]
        expected_std = (width if std == "rsqrt_d_model" else fan_in) ** -0.5
        assert array.std() == pytest.approx(expected_std, rel=5 / math.sqrt(2 * array.size))


def test_branches_that_begin_at_zero_leave_the_stream_as_it_is():
    layers = {
        "pre": LAYER, "parallel": {**LAYER, "residual": "parallel"}, "half": HALF,
        "mixture": {**LAYER, "feed_forward": MOE}, "conv": {**LAYER, **VARIANTS["conv"]},
    }  # fmt: skip
    for name, layer in layers.items():
        spec = document({"embed": TABLE, "body": repeated(layer, 2)}, init={"residual_projection": "zeros"})
        spec["outputs"] = {"before": "embed", "after": "body"}
        module = to_torch(parse_spec(json.dumps(spec))).eval()
        with torch.no_grad():
            results = module(torch.arange(20).reshape(2, 10))
        assert torch.equal(results["before"], results["after"]), name


# ---- what no entry draws


XIELU = {"kind": "mlp", "d_ff": 5, "activation": "xielu"}
LEARNED = {
    "block": {"kind": "linear", "d_out": WIDTH, "activation": "xielu"},
    "block.experts": {"kind": "moe", "n_experts": 3, "top_k": 1, "expert": XIELU},
    "block.dense": {"kind": "pool", "method": "last", "dense": {"activation": "xielu"}},
}


@pytest.mark.parametrize("at", LEARNED)
def test_slopes_begin_at_the_same_number_whatever_init_says(at):
    values = first_values(document({"embed": TABLE, "block": LEARNED[at]}, init={"default": "ones"}))
    softplus = {side: np.log1p(np.exp(values[f"{at}.alpha_{side}"])) for side in "pn"}
    assert {slopes.shape for slopes in softplus.values()} == {(3, 1) if at == "block.experts" else (1,)}
    assert softplus["p"] == pytest.approx(0.8, abs=1e-6)
    assert 0.5 + softplus["n"] == pytest.approx(0.8, abs=1e-6)


def test_gains_of_experts_are_applied_gains():
    norm = {"kind": "rms_norm", "gain_offset": 0.75}
    expert = {"kind": "mlp", "d_ff": 5, "norm": norm}
    values = first_values(
        document({"embed": TABLE, "moe": {"kind": "moe", "n_experts": 3, "top_k": 1, "expert": expert}})
    )
    assert values["moe.experts.norm.weight"].shape == (3, 5)
    assert (values["moe.experts.norm.weight"] == 0.25).all()
