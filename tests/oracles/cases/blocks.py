"""Sources, feed-forwards, norms, small blocks and heads."""

from tests.oracles.cases.case import EMBEDS, TOKENS, WIDTH, Case, alone, document

ACTIVATIONS = ("relu", "relu2", "gelu", "gelu_tanh", "quick_gelu", "silu", "tanh", "sigmoid", "identity", "xielu")


def table(name, passed=(), **fields):
    return Case(f"embedding {name}", document({"embed": {**TOKENS, **fields}}), passed)


def types(count):
    block = {**TOKENS, "from": {"tokens": "input_ids", "token_types": "token_type_ids"}, "token_types": count}
    return Case(
        "embedding types", document({"embed": block}, inputs={"input_ids": "tokens", "token_type_ids": "tokens"})
    )


def chained(name, *blocks, **more):
    return Case(name, document({f"b{index}": block for index, block in enumerate(blocks)}, **more))


def join(name, block):
    """Of a projection, its reader and the input."""
    blocks = {
        "one": {"kind": "linear", "d_out": WIDTH, "bias": True},
        "two": {"kind": "linear", "d_out": WIDTH, "activation": "tanh"},
        "both": {**block, "from": ["one", "two", "inputs_embeds"]},
    }
    return Case(name, document(blocks, **EMBEDS))


def vectors(name, block):
    inputs = {"left": {"kind": "vector", "width": WIDTH}, "right": {"kind": "vector", "width": WIDTH}}
    blocks = {"both": {**block, "from": ["left", "right"]}, "out": {"kind": "linear", "d_out": 5}}
    return Case(name, document(blocks, inputs=inputs))


def towers(name, block, **pool):
    """Two towers over inputs of different lengths, the second with the first one's parameters, and what joins them."""
    tower = {"embed": TOKENS, "pooled": {"kind": "pool", "method": "mean", **pool}}
    blocks = {
        "tower": {"kind": "graph", "from": "input_ids", "blocks": tower},
        "other": {"kind": "graph", "shares": "tower", "from": "decoder_input_ids"},
        "both": {**block, "from": ["tower", "other"]},
    }
    return Case(name, document(blocks, inputs={"input_ids": "tokens", "decoder_input_ids": "tokens"}))


NEAR = {
    "kind": "multi_head", "n_heads": 2, "rotary": {"theta": 7.0}, "mask": {"kind": "causal", "window": 3},
    "scores": {"bias": {"kind": "t5", "n_buckets": 8, "max_distance": 9}, "temperature": {"scale": 0.7, "floor": 2}},
}  # fmt: skip
"""Attention that reads slots, ranks and position ids."""


def mixed(name, blocks, **more):
    """Blocks that change the length, under attention that reads every kind of position."""
    inputs = {"inputs_embeds": {"kind": "sequence", "width": WIDTH}, "others": {"kind": "sequence", "width": WIDTH}}
    used = {key: value for key, value in inputs.items() if key == "inputs_embeds" or key in str(blocks)}
    return Case(name, document(blocks, inputs=used, **more))


def feed_forward(kind, name, **fields):
    return alone(f"{kind} {name}", {"kind": kind, "d_ff": 11, **fields})


def experts(name, router=None, **fields):
    block = {"kind": "moe", "n_experts": 4, "top_k": 2, "expert": {"kind": "gated_mlp", "d_ff": 5}, **fields}
    return alone(f"moe {name}", block if router is None else {**block, "router": router})


def norm(kind, name, **fields):
    return alone(f"{kind} {name}", {"kind": kind, **fields})


def classes(kind, name, **fields):
    return alone(f"{kind} {name}", {"kind": kind, "n_labels": 3, **fields})


def scores(name, **fields):
    return chained(f"lm_head {name}", TOKENS, {"kind": "lm_head", **fields})


def tied_embeddings(name, **fields):
    """Two embeddings of one table, of which the first owns a projection."""
    owner = {**TOKENS, "projection": {"dim": 6, "bias": True, **fields.pop("projection", {})}, **fields}
    more = {key: fields[key] for key in ("position", "multiplier") if key in fields}
    blocks = {
        "one": {**owner, "from": "input_ids"},
        "two": {"kind": "embedding", "tied_to": "one", "from": "decoder_input_ids", **more},
    }
    outputs = {"one": "one", "two": "two"}
    inputs = {"input_ids": "tokens", "decoder_input_ids": "tokens"}
    return Case(f"tied embeddings {name}", document(blocks, inputs=inputs, outputs=outputs))


def masked(name, head, **embed):
    return chained(f"mlm_head {name}", {**TOKENS, **embed}, {"kind": "mlm_head", **head})


FACTORS = {"dim": 6, "bias": True}
COUNTED = {"kind": "non_pad_cumsum", "pad_id": 3}
SINES = {"kind": "sinusoidal"}
EMBEDDINGS = [
    table("plain"),
    table("multiplier", multiplier=2.5),
    table("sqrt_d_model", multiplier="sqrt_d_model"),
    table("learned", position={"kind": "learned", "max_len": 9}),
    table("learned by slot", position={"kind": "learned", "max_len": 9, "ids": "slot"}),
    table("learned by rank", position={"kind": "learned", "max_len": 9, "ids": {"kind": "rank"}, "offset": 2}),
    table("learned passed", position={"kind": "learned", "max_len": 9, "offset": 1}, passed=("position_ids",)),
    table("learned slot passed", position={"kind": "learned", "max_len": 9, "ids": "slot"}, passed=("position_ids",)),
    table("learned by count", position={"kind": "learned", "max_len": 9, "ids": COUNTED}),
    table("learned by count and offset", position={"kind": "learned", "max_len": 8, "offset": 2, "ids": COUNTED}),
    table(
        "learned by count, passed",
        position={"kind": "learned", "max_len": 9, "ids": COUNTED},
        passed=("position_ids",),
    ),
    table("sinusoidal by count", position={**SINES, "style": "fairseq", "theta": 12.0, "ids": COUNTED}),
    alone("add learned", {"kind": "add_position", "position": {"kind": "learned", "max_len": 9, "offset": 1}}),
    alone("add sinusoidal", {"kind": "add_position", "position": {**SINES, "style": "concat", "ids": "slot"}}),
    table("sinusoidal", position="sinusoidal"),
    *[
        table(f"sinusoidal {style}", position={**SINES, "style": style})
        for style in ("interleaved", "concat", "fairseq")
    ],
    table("sinusoidal theta", position={**SINES, "theta": 12.0, "offset": 3}),
    table("sinusoidal by slot", position={**SINES, "style": "concat", "theta": 12.0, "ids": "slot"}),
    table("one type", token_types=1),
    types(3),
    table("norm of the sum", norm="layer_norm", position="sinusoidal", token_types=1),
    table("norm of the token", norm="rms_norm", norm_at="token", position="sinusoidal", multiplier=3.0),
    table("projection", projection={"dim": 5}),
    table("projection of the sum", projection={**FACTORS, "at": "sum"}, position="sinusoidal", norm="layer_norm"),
    table("projection of the token", projection={**FACTORS, "at": "token"}, position="sinusoidal", token_types=1),
    table("projection scaled", projection={"dim": 6, "bias": False}, multiplier="sqrt_d_model", token_types=1),
    *[
        table(
            f"norm at {place}, projection at {at}",
            projection={**FACTORS, "at": at},
            norm="layer_norm",
            norm_at=place,
            position="sinusoidal",
            multiplier=2.0,
        )
        for place in ("token", "sum", "projected")
        for at in ("token", "sum")
    ],
    table("token_dropout", token_dropout={"mask_id": 4}, position="sinusoidal"),
    table("token_dropout ratio", token_dropout={"mask_id": 7, "ratio": 0.5}, projection=FACTORS, multiplier=3.0),
    tied_embeddings("of the sum", position="sinusoidal", multiplier=2.0),
    tied_embeddings("of the token", position="sinusoidal", projection={"at": "token"}),
    tied_embeddings("scaled", multiplier="sqrt_d_model"),
]
FEED_FORWARDS = [
    *[feed_forward("mlp", name, activation=name) for name in ACTIVATIONS],
    *[feed_forward("gated_mlp", name, activation=name) for name in ACTIVATIONS],
    *[
        feed_forward(kind, name, **fields)
        for kind in ("mlp", "gated_mlp")
        for name, fields in (
            ("defaults", {}),
            ("bias", {"bias": True}),
            ("bias in", {"bias": {"in": True}}),
            ("bias out", {"bias": {"out": True, "in": False}}),
            ("no bias", {"bias": {"out": False}}),
            ("norm", {"norm": "layer_norm"}),
        )
    ],
    *[
        feed_forward("gated_mlp", f"clamp {name}", clamp=clamp, bias=True)
        for name, clamp in (
            ("of the gate", {"gate_max": 0.3, "up_abs": 50.0}),
            ("of up", {"gate_max": 50.0, "up_abs": 0.4}),
            ("and offset", {"gate_max": 0.5, "up_abs": 0.6, "up_offset": 1.5}),
        )
    ],
    feed_forward("gated_mlp", "no clamp", clamp=None, activation="quick_gelu"),
    experts("clamped", expert={"kind": "gated_mlp", "d_ff": 5, "clamp": {"gate_max": 0.2, "up_abs": 0.3}}),
    experts("of xielu", expert={"kind": "mlp", "d_ff": 5, "activation": "xielu"}, top_k=3),
    experts("plain"),
    experts("normalized", {"normalize": True}, n_experts=5, top_k=3),
    experts("router", {"bias": True, "scale": 2.5, "score": "softmax"}),
    experts("of biased mlps", {}, expert={"kind": "mlp", "d_ff": 6, "bias": True, "norm": "rms_norm"}, top_k=1),
    experts("all chosen", {"normalize": False}, top_k=4),
    experts("scored apart", {"score": "sigmoid", "normalize": True, "scale": 2.5}),
    experts("of raw logits", {"score": "none", "after_top_k": "none"}),
    experts("weighed after the choice", {"score": "none", "after_top_k": "softmax", "bias": True}, n_experts=5),
    experts("weighed before", {"score": "none", "after_top_k": "sigmoid", "weight_on": "input"}, top_k=1),
    experts("weighed before a bias", {"weight_on": "input"}, expert={"kind": "mlp", "d_ff": 6, "bias": True}),
    experts("weighed after a bias", {"weight_on": "output"}, expert={"kind": "mlp", "d_ff": 6, "bias": True}),
    experts("preferred", {"selection_bias": True, "normalize": True}, n_experts=6, top_k=3),
    experts("preferred no one", {"selection_bias": False, "groups": None}),
    experts("in groups", {"groups": {"n_groups": 3, "top_k": 2}}, n_experts=6, top_k=3),
    experts("in groups by their best", {"groups": {"n_groups": 4, "top_k": 1, "score": "max"}}, n_experts=8),
    experts("in groups of one", {"groups": {"n_groups": 4, "top_k": 3}}),
    experts(
        "in groups by two, preferred",
        {
            "score": "sigmoid",
            "selection_bias": True,
            "normalize": True,
            "scale": 1.5,
            "groups": {"n_groups": 2, "top_k": 1, "score": "top2_sum"},
        },
        n_experts=8,
        top_k=3,
    ),
    experts("and one for all", shared={"kind": "gated_mlp", "d_ff": 7}, shared_gate=False),
    experts("and one for all, gated", shared={"kind": "mlp", "d_ff": 7, "bias": True}, shared_gate=True),
    experts("and none for all", shared=None),
]
NORMS = [
    norm("layer_norm", "plain"),
    norm("layer_norm", "eps", eps=0.5),
    norm("layer_norm", "no gain", gain=False),
    norm("layer_norm", "no bias", bias=False),
    norm("layer_norm", "scalar", gain="scalar"),
    norm("layer_norm", "offset", gain_offset=1.0),
    norm("layer_norm", "scalar offset", gain="scalar", gain_offset=0.5, bias=False),
    norm("std_norm", "plain"),
    norm("std_norm", "eps", eps=0.5),
    feed_forward("mlp", "std_norm", norm={"kind": "std_norm", "eps": 0.1}),
    norm("rms_norm", "plain"),
    norm("rms_norm", "eps", eps=0.5),
    norm("rms_norm", "no gain", gain=False),
    norm("rms_norm", "scalar", gain="scalar"),
    norm("rms_norm", "offset", gain_offset=1.0),
    norm("rms_norm", "scalar offset", gain="scalar", gain_offset=0.5),
]
SMALL = [
    join("add", {"kind": "add"}),
    join("weighted_sum", {"kind": "weighted_sum"}),
    join("weighted_sum by channel", {"kind": "weighted_sum", "weights": "channel"}),
    join("weighted_sum softmax", {"kind": "weighted_sum", "softmax": True}),
    join("weighted_sum by channel softmax", {"kind": "weighted_sum", "weights": "channel", "softmax": True}),
    *[
        chained(f"{kind} of a vector", {"kind": "pool", "method": "max"}, {"kind": kind, "eps": 0.2}, **EMBEDS)
        for kind in ("layer_norm", "rms_norm", "std_norm")
    ],
    vectors("add of vectors", {"kind": "add"}),
    join("multiply", {"kind": "multiply"}),
    vectors("multiply vectors", {"kind": "multiply"}),
    *[
        mixed(
            f"multiply, the vector {place}",
            {"v": {"kind": "pool", "method": "mean"}, "both": {"kind": "multiply", "from": order}, "last": NEAR},
        )
        for place, order in (("last", ["inputs_embeds", "v"]), ("first", ["v", "inputs_embeds", "v"]))
    ],
    join("concat", {"kind": "concat"}),
    join("concat of channels", {"kind": "concat", "axis": "channels"}),
    vectors("concat of vectors", {"kind": "concat"}),
    mixed(
        "concat of lengths",
        {
            "both": {"kind": "concat", "axis": "length", "from": ["inputs_embeds", "others", "inputs_embeds"]},
            "near": NEAR,
            "pooled": {"kind": "pool", "method": "last"},
        },
        outputs={"near": "near", "pooled": "pooled"},
    ),
    mixed(
        "concat of lengths as memory",
        {
            "both": {"kind": "concat", "axis": "length", "from": ["inputs_embeds", "others"]},
            "across": {"kind": "multi_head", "n_heads": 2, "from": {"x": "others", "memory": "both"}},
        },
    ),
    mixed(
        "learned_tokens",
        {
            "memory": {"kind": "learned_tokens", "n_tokens": 3, "from": {"like": "inputs_embeds"}},
            "joined": {"kind": "concat", "axis": "length", "from": ["memory", "inputs_embeds"]},
            "near": NEAR,
            "words": {"kind": "slice", "start": 3},
            "again": NEAR,
            "sum": {"kind": "add", "from": ["inputs_embeds", "again"]},
        },
    ),
    mixed(
        "learned_tokens as memory",
        {
            "memory": {"kind": "learned_tokens", "n_tokens": 3, "from": "inputs_embeds"},
            "across": {"kind": "multi_head", "n_heads": 2, "from": {"x": "inputs_embeds", "memory": "memory"}},
            "latents": {"kind": "multi_head", "n_heads": 2, "from": {"x": "memory", "memory": "across"}},
        },
    ),
    *[
        mixed(
            f"slice {start}:{stop}",
            {
                "some": {"kind": "slice", "start": start, "stop": stop},
                "near": NEAR,
                "first": {"kind": "pool", "method": "first", "from": "near"},
                "last": {"kind": "pool", "method": "last", "from": "near"},
                "most": {"kind": "pool", "method": "max", "from": "near"},
            },
            outputs={"near": "near", "first": "first", "last": "last", "most": "most"},
        )
        for start, stop in ((0, None), (1, None), (0, 5), (2, -1), (-5, None), (-6, -1), (-40, 40), (0, 40))
    ],
    mixed(
        "slice of a slice",
        {
            "some": {"kind": "slice", "start": 1}, "fewer": {"kind": "slice", "stop": -1}, "near": NEAR,
            "short": {"kind": "downsample", "factor": 2}, "attended": NEAR,
            "long": {"kind": "upsample", "factor": 2, "from": {"x": "attended", "like": "near"}}, "last": NEAR,
        },
    ),
    mixed(
        "neighbours",
        {
            "after": {"kind": "slice", "start": 1, "from": "inputs_embeds"},
            "before": {"kind": "slice", "stop": -1, "from": "inputs_embeds"},
            "pairs": {"kind": "add", "from": ["after", "before"]},
            "near": NEAR,
        },
    ),
    mixed(
        "unpool",
        {
            "v": {"kind": "pool", "method": "mean"},
            "tokens": {"kind": "unpool", "n_tokens": 3, "bias": True},
            "near": NEAR,
            "joined": {"kind": "concat", "axis": "length", "from": ["near", "inputs_embeds", "near"]},
            "again": NEAR,
        },
    ),
    chained(
        "unpool without bias", {"kind": "pool", "method": "max"}, {"kind": "unpool", "n_tokens": 4, "bias": False},
        **EMBEDS,
    ),
    towers("dot_product", {"kind": "dot_product"}),
    towers("dot_product of unit vectors", {"kind": "dot_product"}, normalize=True, dense={"dim": 5}),
    vectors("weighted_sum of vectors", {"kind": "weighted_sum", "weights": "channel", "softmax": True}),
    *[alone(f"linear {name}", {"kind": "linear", "d_out": 5, "activation": name}) for name in ACTIVATIONS],
    alone("linear bias", {"kind": "linear", "d_out": 5, "bias": True}),
    alone("dropout", {"kind": "dropout", "p": 0.5}),
    *[alone(f"pool {method}", {"kind": "pool", "method": method}) for method in ("first", "last", "mean", "max")],
    alone("pool dense", {"kind": "pool", "method": "mean", "dense": {}}),
    alone("pool normalize", {"kind": "pool", "method": "last", "normalize": True}),
    *[
        alone(f"pool dense {name}", {"kind": "pool", "method": "mean", "dense": {"activation": name}})
        for name in (*ACTIVATIONS, None)
    ],
    alone(
        "pool everything",
        {
            "kind": "pool", "method": "max", "normalize": True,
            "dense": {"dim": 5, "activation": "gelu", "norm": "layer_norm", "bias": True},
        },
    ),
    *[
        alone(f"downsample {method} {factor}", {"kind": "downsample", "factor": factor, "method": method})
        for method in ("mean", "max", "first")
        for factor in (2, 3)
    ],
    chained(
        "downsampled attention",
        {"kind": "downsample", "factor": 2},
        {"kind": "multi_head", "n_heads": 2, "mask": {"kind": "full", "window": 1}, "rotary": {"theta": 7.0}},
        {"kind": "pool", "method": "last"},
        **EMBEDS,
    ),
    *[
        Case(
            f"upsample {factor}",
            document(
                {
                    "short": {"kind": "downsample", "factor": factor},
                    "body": {"kind": "linear", "d_out": 6},
                    "long": {"kind": "upsample", "factor": factor, "from": {"x": "body", "like": "inputs_embeds"}},
                },
                **EMBEDS,
            ),
        )
        for factor in (2, 3)
    ],
]  # fmt: skip
HEADS = [
    scores("own"),
    scores("vocabulary", vocab_size=9),
    scores("tied", tied_to="b0"),
    scores("tied bias", tied_to="b0", bias=True),
    scores("bias", bias=True, multiplier=0.25, input_multiplier=3.0),
    scores("rsqrt_d_model", input_multiplier="rsqrt_d_model"),
    scores("softcap", softcap=0.7, multiplier=3.0, bias=True),
    scores("projection", projection={"dim": 5}, input_multiplier="rsqrt_d_model"),
    scores("projection bias", projection={"dim": 8, "bias": True}, tied_to="b0", input_multiplier=3.0, bias=True),
    scores("projection no bias", projection={"dim": 5, "bias": False}, softcap=None),
    masked("own", {"vocab_size": 9}),
    masked("inferred", {"bias": False}),
    masked("tied", {"tied_to": "b0", "bias": True}),
    masked("tied to a factorised table", {"tied_to": "b0"}, projection={"dim": 5}),
    masked("no dense", {"tied_to": "b0", "dense": None}),
    masked("bare dense", {"dense": {"dim": 5, "norm": None, "bias": False, "activation": None}}),
    masked("biased dense", {"dense": {"dim": 5, "norm": {"kind": "layer_norm", "eps": 0.1}, "bias": True}}),
    *[masked(f"dense {name}", {"dense": {"activation": name}}) for name in ACTIVATIONS],
    *[
        case
        for kind in ("sequence_classifier", "regression")
        for case in (
            *[classes(kind, method, pool=method) for method in ("first", "last", "mean", "max")],
            classes(kind, "no bias", pool="mean", bias=False),
            classes(kind, "bias", pool="mean", bias=True, dense={"bias": False}),
            *[classes(kind, f"dense {name}", pool="mean", dense={"activation": name}) for name in (*ACTIVATIONS, None)],
            classes(kind, "dense", pool="first", dense={"dim": 5, "norm": "rms_norm", "bias": True}),
            chained(f"{kind} of a vector", {"kind": "pool", "method": "mean"}, {"kind": kind, "n_labels": 2}, **EMBEDS),
        )
    ],
    classes("token_classifier", "plain"),
    classes("token_classifier", "no bias", bias=False),
    classes("token_classifier", "bias", bias=True, dense={"bias": False}),
    *[classes("token_classifier", f"dense {name}", dense={"activation": name}) for name in (*ACTIVATIONS, None)],
    classes("token_classifier", "dense", dense={"dim": 5, "norm": "layer_norm", "bias": True}),
    alone("span", {"kind": "span"}),
    alone("span no bias", {"kind": "span", "bias": False}),
    alone("span bias", {"kind": "span", "bias": True}),
]
CASES = [*EMBEDDINGS, *FEED_FORWARDS, *NORMS, *SMALL, *HEADS]
