"""Layers, residual forms, stacks and their variation, sharing and ties, wiring."""

from tests.oracles.cases.case import EMBEDS, TOKENS, WIDTH, Case, document, layered

MLP = {"kind": "mlp", "d_ff": 11, "activation": "tanh"}
HEADS = {"kind": "multi_head", "n_heads": 2, "mask": "causal"}
LAYER = {
    "kind": "transformer_layer", "norm": "layer_norm", "norm_placement": "pre", "attention": HEADS, "feed_forward": MLP,
}  # fmt: skip
PLACEMENTS = ("pre", "post", "sandwich", "reordered", ["output", "residual"], ["input", "output", "residual"])


def layer(name, **fields):
    return layered(f"layer {name}", {**LAYER, **fields})


def crossed(name, **fields):
    inputs = {
        "inputs_embeds": {"kind": "sequence", "width": WIDTH},
        "encoder_hidden_states": {"kind": "sequence", "width": 6},
    }
    body = {**LAYER, "cross_attention": {"kind": "multi_head", "n_heads": 2}, **fields}
    block = {**body, "from": {"x": "inputs_embeds", "memory": "encoder_hidden_states"}}
    return Case(f"layer crossed {name}", document({"layer": block}, inputs=inputs))


def wrapped(name, **fields):
    block = {"kind": "residual", "body": MLP, **fields}
    return Case(f"residual {name}", document({"block": block}, **EMBEDS))


def stack(name, **fields):
    return layered(f"stack {name}", {**LAYER}, **fields)


VARIANTS = {
    "near": {"attention": {"mask": {"window": 2}}},
    "wide": {"feed_forward": {"d_ff": 5, "activation": "relu"}},
    "conv": {"attention": {"kind": "short_conv", "kernel": 2}},
    "half": {"residual": {"multiplier": 0.5}},
}
BIAS = {"kind": "t5", "n_buckets": 4, "max_distance": 6}
LAYERS = [
    *[layer(f"norm at {placement}", norm_placement=placement) for placement in PLACEMENTS],
    layered(
        "layer without norms", {key: value for key, value in LAYER.items() if key != "norm_placement"} | {"norm": None}
    ),
    layer("norm on feed_forward", norm_on=["feed_forward"]),
    layer("norm on attention", norm_on=["attention"], norm_placement="sandwich"),
    layer("attention alone", feed_forward=None),
    layer("feed_forward alone", attention=None),
    layer("order", order=["feed_forward", "attention"]),
    layer("macaron", order=["feed_forward", "attention", "feed_forward"]),
    layer("multiplier", residual={"kind": "sequential", "multiplier": 0.4}),
    layer("multipliers", residual={"kind": "sequential", "multiplier": {"feed_forward": 0.4}}),
    layer("skip_multiplier", residual={"kind": "sequential", "skip_multiplier": 1.7}, norm_placement="post"),
    layer("layer_scale", residual={"kind": "sequential", "layer_scale": 0.1}),
    layer("skip from the norm", residual={"kind": "sequential", "skip_from": "normed"}),
    layer("skip from the input", residual={"kind": "sequential", "skip_from": "input"}),
    layer("mixture", feed_forward={"kind": "moe", "n_experts": 3, "top_k": 2, "expert": MLP}),
    crossed("plain"),
    crossed("off", cross_attention={"kind": "multi_head", "n_heads": 4, "bias": True}),
    crossed("post", norm_placement="post", order=["cross_attention", "attention", "feed_forward"]),
    crossed("norm", norm_on=["cross_attention"]),
    crossed("multiplied", residual={"kind": "sequential", "multiplier": {"cross_attention": 0.3}}),
]


def beside(name, fields=None, **form):
    return layer(f"parallel {name}", residual={"kind": "parallel", **form}, **(fields or {}))


PARALLEL = [
    layer("parallel", residual="parallel"),
    beside("separate", norms="separate"),
    beside("shared", norms="shared", multiplier=0.4),
    beside("sandwich", {"norm_placement": "sandwich"}, skip_multiplier=1.7),
    beside("separate sandwich", {"norm_placement": ["output", "input"]}, norms="separate", layer_scale=0.1),
    beside("norm on one", {"norm_on": ["feed_forward"], "norm_placement": "sandwich"}),
    beside("layer_scale", layer_scale=0.1, multiplier=1.5),
    layered(
        "layer parallel without norms",
        {k: v for k, v in LAYER.items() if k != "norm_placement"} | {"norm": None, "residual": "parallel"},
        final_norm="rms_norm",
    ),
    stack("parallel and not", n_layers=3, variants={"row": {"residual": "parallel"}}, pattern=["default", "row"]),
]
RESIDUALS = [
    wrapped("plain"),
    *[wrapped(f"norm at {placement}", norm="rms_norm", norm_placement=placement) for placement in PLACEMENTS],
    wrapped("multiplier", multiplier=0.3),
    wrapped("skip_multiplier", skip_multiplier=1.6),
    wrapped("layer_scale", layer_scale=0.5),
]
STACKS = [
    stack("plain"),
    stack("final_norm like the layers", final_norm=True),
    stack("final_norm of its own", final_norm={"kind": "rms_norm", "eps": 0.1}),
    stack("no final_norm", final_norm=False, n_layers=1),
    stack(
        "pattern", n_layers=5, variants=VARIANTS, pattern=["default*2", "near", ["wide", "half"]], layers={"-1": "conv"}
    ),
    stack("ranges", n_layers=4, variants=VARIANTS, layers={"1:3": ["near", "wide"], "0": "conv", "3": "half"}),
    stack("shared bias", score_bias=BIAS, n_layers=3),
    stack("shared by groups", n_layers=4, share={"groups": 2}),
    stack("shared in turn", n_layers=4, share={"groups": 2, "order": "cyclic"}),
    stack("shared in a row", n_layers=6, share={"groups": 3, "order": "consecutive"}),
    stack("all shared", n_layers=3, share={"groups": 1}),
]


def wiring(name, blocks, **more):
    return Case(f"wiring {name}", document(blocks, **more))


ONE = {"kind": "linear", "d_out": WIDTH, "activation": "tanh"}
UNET = {
    "down": {"kind": "stack", "n_layers": 3, "layer": ONE},
    "up": {
        "kind": "stack", "n_layers": 3,
        "layer": {
            "kind": "graph",
            "blocks": {
                "mix": {"kind": "weighted_sum", "from": ["x", "skip"]},
                "turn": {"kind": "linear", "d_out": WIDTH},
            },
        },
    },
}  # fmt: skip


NEARER = {"attention": {"mask": {"window": 2}}}


def unet(name, skip):
    return wiring(name, {"down": UNET["down"], "up": {**UNET["up"], "from": {"x": "down", "skip": skip}}}, **EMBEDS)


WIRING = [
    unet("each reversed", {"each": "down", "order": "reversed"}),
    unet("each in order", {"each": "down"}),
    wiring(
        "one layer of a stack",
        {"body": UNET["down"], "both": {"kind": "add", "from": ["body.layers[-2]", "body.last_hidden_state"]}},
        **EMBEDS,
    ),
    wiring(
        "all layers of a stack",
        {"body": {**UNET["down"], "final_norm": "rms_norm"}, "all": {"kind": "weighted_sum", "from": "body.layers"}},
        **EMBEDS,
        outputs={"mixed": "all", "last": "body"},
    ),
    wiring(
        "all layers as outputs",
        {"body": UNET["down"]},
        **EMBEDS,
        outputs={"early": "body.layers[0]", "each": "body.layers"},
    ),
    wiring(
        "written out of order",
        {"last": {**ONE, "from": "first"}, "first": {**ONE, "d_out": 5, "from": "inputs_embeds"}},
        **EMBEDS,
        outputs={"result": "last"},
    ),
    wiring(
        "shares",
        {"one": LAYER, "two": {"kind": "transformer_layer", "shares": "one", "from": "one", **NEARER}},
        **EMBEDS,
    ),
    wiring(
        "shares what it has",
        {"one": ONE, "two": {"kind": "linear", "shares": "one", "from": "one", "bias": True}},
        **EMBEDS,
    ),
    wiring(
        "two embeddings of one table",
        {
            "source": {**TOKENS, "from": "input_ids"},
            "encoder": {"kind": "stack", "n_layers": 1, "layer": {**LAYER, "attention": {**HEADS, "mask": "full"}}},
            "target": {"kind": "embedding", "from": "decoder_input_ids", "tied_to": "source", "position": "sinusoidal"},
            "decoder": {
                **LAYER, "from": {"x": "target", "memory": "encoder"},
                "cross_attention": {"kind": "multi_head", "n_heads": 2},
            },
            "head": {"kind": "lm_head", "tied_to": "source"},
        },
        inputs={"input_ids": "tokens", "decoder_input_ids": "tokens"},
    ),
    wiring(
        "a tokens input like another",
        {
            "one": {**TOKENS, "from": "input_ids"},
            "two": {**TOKENS, "from": "word_ids"},
            "both": {"kind": "add", "from": ["one", "two"]},
            "body": HEADS,
        },
        inputs={"input_ids": "tokens", "word_ids": {"kind": "tokens", "like": "input_ids"}},
    ),
    wiring(
        "memory through a residual",
        {
            "look": {
                "kind": "residual", "from": {"x": "inputs_embeds", "memory": "context_embeds"},
                "body": {"kind": "multi_head", "n_heads": 2},
            },
        },
        inputs={**EMBEDS["inputs"], "context_embeds": {"kind": "sequence", "width": 5}},
    ),
]  # fmt: skip
CASES = [*LAYERS, *PARALLEL, *RESIDUALS, *STACKS, *WIRING]
