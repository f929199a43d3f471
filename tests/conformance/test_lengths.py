"""Lengths that are joined, cut and counted anew: equal in both backends, down to rows of which nothing is left."""

import numpy as np
import pytest
import torch

from flexit.runtime.proof.compare import relative_error
from tests.conformance.checks import TOLERANCE, worst
from tests.conformance.placements import Placed

EMBED = {"kind": "embedding", "vocab_size": 31, "d_model": 16}
HEAD = {"kind": "token_classifier", "n_labels": 3}
SELF = {"kind": "multi_head", "n_heads": 2, "mask": "full", "rotary": {}}
LAYER = {
    "kind": "transformer_layer", "norm": "layer_norm", "norm_placement": "pre", "attention": SELF,
    "feed_forward": {"kind": "mlp", "d_ff": 8},
}  # fmt: skip
STACK = {"kind": "stack", "n_layers": 2, "layer": LAYER, "final_norm": True}
MOE = {"kind": "moe", "n_experts": 3, "top_k": 2, "expert": {"kind": "mlp", "d_ff": 5}}
DYNAMIC = {"kind": "dynamic", "factor": 2.0, "original_max_len": 4}


def cut(start=0, stop=None, **more):
    return {"kind": "slice", "start": start, "stop": stop, **more}


def after_a_cut(*blocks):
    named = {f"b{index}": block for index, block in enumerate(blocks)}
    return {"embed": EMBED, "cut": cut(2), **named}


MEMORY = {
    "embed": EMBED,
    "memory": {"kind": "learned_tokens", "n_tokens": 2, "from": "embed"},
    "joined": {"kind": "concat", "axis": "length", "from": ["memory", "embed"]},
}
DOCUMENTS = {
    "layers": after_a_cut(STACK, HEAD),
    "experts": after_a_cut(MOE, HEAD),
    "convolution": after_a_cut({"kind": "short_conv", "kernel": 3}, HEAD),
    "relative positions": after_a_cut(
        {**SELF, "scores": {"bias": {"kind": "relative", "max_distance": 3, "values": True}, "sinks": "learned"}}, HEAD
    ),
    "positions that depend on the length": after_a_cut(
        {**SELF, "n_kv_heads": 1, "mask": {"kind": "causal", "window": 3}, "rotary": {"scaling": DYNAMIC}}, HEAD
    ),
    "groups": after_a_cut({"kind": "downsample", "factor": 2}, STACK, HEAD),
    **{
        f"the {method} of them": after_a_cut({"kind": "sequence_classifier", "n_labels": 2, "pool": method})
        for method in ("first", "last", "mean", "max")
    },
    "cuts in regions": {
        **MEMORY,
        "ends": {"kind": "graph", "blocks": {"a": cut(-3), "m": SELF, "b": cut(1, -1)}},
        "rest": {
            "kind": "graph", "from": "joined",
            "blocks": {
                "a": cut(1), "d": {"kind": "downsample", "factor": 2}, "b": cut(stop=-2), "c": cut(-40), "m": SELF,
            },
        },
        "mean": {"kind": "pool", "method": "mean"},
        "weighed": {"kind": "multiply", "from": ["ends", "mean"]},
        "head": HEAD,
    },
    "a sequence from a vector": {
        "embed": EMBED,
        "mean": {"kind": "pool", "method": "mean"},
        "summary": {"kind": "unpool", "n_tokens": 3},
        "joined": {"kind": "concat", "axis": "length", "from": ["summary", "embed", "summary"]},
        "body": STACK, "words": cut(3, -3), "both": {"kind": "add", "from": ["words", "embed"]}, "head": HEAD,
    },
    "trained memory of a decoder": {
        "embed": EMBED,
        "memory": {"kind": "learned_tokens", "n_tokens": 2, "from": "embed"},
        "decoder": {
            **STACK, "from": {"x": "embed", "memory": "memory"},
            "layer": {
                **LAYER, "attention": {**SELF, "mask": "causal"},
                "cross_attention": {"kind": "multi_head", "n_heads": 2},
            },
        },
        "head": {"kind": "lm_head"},
    },
}  # fmt: skip


@pytest.fixture(params=DOCUMENTS, ids=str)
def placed(request):
    return of(request.param, DOCUMENTS[request.param])


def of(form, blocks):
    return Placed("lengths", 0, "alone", form, {"flexit": 1, "name": "lengths", "blocks": blocks})


@pytest.mark.ort
@pytest.mark.parametrize("optimise", [False, True], ids=["plain", "optimised"])
def test_both_backends_agree_at_every_length(placed, optimise):
    sessions = placed.ort_session(optimise=optimise), placed.torch_session()
    for rows, length in ((1, 1), (5, 2), (3, 3), (4, 9)):
        assert worst(placed, sessions, placed.inputs(rows, length)) < TOLERANCE, (rows, length)


@pytest.mark.ort
def test_a_memory_of_nothing():
    across = {"kind": "multi_head", "n_heads": 4, "n_kv_heads": 2, "from": {"x": "embed", "memory": "cut"}}
    placed = of("memory", after_a_cut(across, HEAD))
    for length in (1, 2, 3, 9):
        inputs = placed.inputs(4, length)
        inputs = {name: np.ones_like(array) if "mask" in name else array for name, array in inputs.items()}
        sessions = placed.ort_session(optimise=False), placed.torch_session()
        assert worst(placed, sessions, inputs) < TOLERANCE, length


@pytest.mark.slow
def test_one_graph_for_every_length(placed):
    torch._dynamo.reset()
    backend = "aot_eager" if placed.form == "layers" else "eager"
    compiled = torch.compile(placed.module, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad():
        for rows, length in ((2, 6), (3, 9), (2, 8)):
            given = placed.tensors(rows, length)
            found, expected = compiled(**given), placed.module(**given)
            for name, value in expected.items():
                assert relative_error(found[name].numpy(), value.numpy()) < 1e-6, (rows, length)
