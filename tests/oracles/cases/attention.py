"""Attention, self and cross, with every field of it; rotations, masks; the short convolution."""

from tests.oracles.cases.case import EMBEDS, WIDTH, Case, alone, document, layered


def heads(name, passed=(), **fields):
    return alone(f"heads {name}", {"kind": "multi_head", "n_heads": 4, "mask": "causal", **fields}, passed=passed)


TURNED = {"n_heads": 2, "head_dim": 8}
NORM = {"kind": "layer_norm", "eps": 1e-3}

SOURCES = {
    "other_embeds": {"kind": "sequence", "width": WIDTH - 2},
    "same_embeds": {"kind": "sequence", "width": WIDTH - 2, "like": "inputs_embeds"},
}


def memory(name, source, **fields):
    block = {"kind": "multi_head", "n_heads": 2, **fields, "from": {"x": "inputs_embeds", "memory": source}}
    return Case(f"memory {name}", document({"read": block}, inputs={**EMBEDS["inputs"], source: SOURCES[source]}))


def latent(name, passed=(), **fields):
    sizes = {"n_heads": 2, "kv_lora_rank": 6, "qk_nope_head_dim": 3, "qk_rope_head_dim": 4, "v_head_dim": 5}
    return alone(
        f"latent {name}", {"kind": "mla", **sizes, "mask": "causal", "rotary": {"theta": 7.0}, **fields}, passed=passed
    )


DEEPSEEK = {"kind": "yarn", "factor": 4.0, "original_max_len": 6, "mscale": 1.0, "mscale_all_dim": 0.7}
PER_HEAD = {"gain": "per_head"}
WARM = {"scale": 0.8, "floor": 2}


def by_layer(name, **scores):
    """Two layers and a nested stack of two, each scaled by its own index."""
    mixer = {"kind": "multi_head", "n_heads": 2, "mask": "causal", "scores": {"inverse_layer_scale": True, **scores}}
    inner = {"kind": "stack", "n_layers": 2, "layer": {"kind": "residual", "body": mixer, "norm": None}}
    layer = {"kind": "graph", "blocks": {"first": mixer, "inner": inner, "last": mixer}}
    return layered(f"heads by layer {name}", layer)


CASES = [
    heads("causal"),
    heads("full", mask="full"),
    heads("bare kinds", mask={"kind": "causal"}, qk={}, scores={}),
    heads("causal window", mask={"kind": "causal", "window": 3}),
    heads("causal window of one", mask={"kind": "causal", "window": 1}),
    heads("full window", mask={"kind": "full", "window": 2}),
    heads("causal chunks", mask={"kind": "causal", "chunk": 3}),
    heads("full chunks", mask={"kind": "full", "chunk": 2, "window": None, "keep_first": 0}),
    heads("window and chunks", mask={"kind": "causal", "chunk": 4, "window": 2}),
    heads("streaming", mask={"kind": "causal", "window": 2, "keep_first": 1}),
    heads("full chunks and first", mask={"kind": "full", "chunk": 2, "keep_first": 2}),
    heads("causal bare", mask={"kind": "causal", "window": None, "chunk": None, "keep_first": 0}),
    heads("prefix", mask="prefix", passed=("prefix_lengths",)),
    heads("prefix window", mask={"kind": "prefix", "window": 2}, passed=("prefix_lengths",)),
    heads("prefix not passed", mask={"kind": "prefix", "window": None}),
    heads("grouped", n_kv_heads=2, head_dim=6, v_head_dim=5),
    heads("multi-query", n_kv_heads=1, bias=True),
    *[heads(f"bias of {p}", bias={p: True}) for p in "qkvo"],
    heads("bias of k where it shows", bias={"k": True}, rotary={"theta": 7.0}, **TURNED),
    heads("no bias", bias={"q": False, "k": False, "v": False, "o": False}),
    heads("scale", scores={"scale": 0.3}),
    heads("rotary", rotary={}, **TURNED),
    heads("rotary theta", rotary={"theta": 5.0}, **TURNED),
    heads("rotary interleaved", rotary={"theta": 7.0, "style": "interleaved"}, **TURNED),
    heads("rotary part", rotary={"theta": 7.0, "dim": 4}, n_kv_heads=1, **TURNED),
    heads("rotary interleaved part", rotary={"style": "interleaved", "dim": 6}, **TURNED),
    heads("rotary at passed positions", rotary={"theta": 7.0}, passed=("position_ids",), **TURNED),
    heads("window at passed positions", mask={"kind": "causal", "window": 3}, rotary={}, passed=("position_ids",)),
    heads("norm per head", qk={"norm": "rms_norm"}, n_kv_heads=2, bias=True),
    heads("norm over all", qk={"norm": NORM, "over": "all"}, n_kv_heads=2),
    heads("norm before rotary", qk={"norm": NORM, "at": "before_rotary"}, rotary={"theta": 7.0}, **TURNED),
    heads("norm after rotary", qk={"norm": NORM, "at": "after_rotary"}, rotary={"theta": 7.0}, **TURNED),
    heads(
        "norm over all after rotary",
        qk={"norm": "rms_norm", "over": "all", "at": "after_rotary"},
        rotary={"theta": 7.0},
        **TURNED,
    ),
    heads(
        "t5 after a prefix",
        mask="prefix",
        scores={"bias": {"kind": "t5", "n_buckets": 8, "max_distance": 6}},
        passed=("prefix_lengths",),
    ),
    heads("clipped", clip_qkv=0.4, n_kv_heads=2, bias=True),
    heads("clipped, then normed", clip_qkv=0.4, qk={"norm": "rms_norm"}),
    heads("gain per head", qk={"norm": NORM, **PER_HEAD}, n_kv_heads=2),
    heads("gain per head after rotary", qk={"norm": NORM, **PER_HEAD, "at": "after_rotary"}, rotary={}, **TURNED),
    heads(
        "gain per head with an offset",
        qk={"norm": {"kind": "rms_norm", "gain_offset": 0.7}, **PER_HEAD},
    ),
    heads("one gain per head", qk={"norm": {"kind": "rms_norm", "gain": "scalar"}, **PER_HEAD}),
    heads("bias per head", qk={"norm": {"kind": "layer_norm", "gain": False}, **PER_HEAD}, rotary={}, **TURNED),
    heads("gain shared", qk={"norm": "rms_norm", "gain": "shared"}),
    heads("softcap", scores={"softcap": 0.3}, n_kv_heads=2),
    heads("softcap under a window", scores={"softcap": 0.3}, mask={"kind": "causal", "window": 3}),
    heads("softcap before a bias", scores={"softcap": 0.3, "bias": {"kind": "t5", "n_buckets": 4}}, mask="full"),
    heads("learned sinks", scores={"sinks": "learned"}, n_kv_heads=1),
    heads("zero sinks", scores={"sinks": "zero"}, mask="full"),
    heads("sinks, softcap and window", scores={"sinks": "learned", "softcap": 0.3}, mask={"kind": "full", "window": 1}),
    heads("temperature", scores={"temperature": WARM}),
    heads("temperature from one on", scores={"temperature": {**WARM, "offset": 1}}, mask="full"),
    heads("temperature at passed positions", scores={"temperature": {**WARM, "offset": 0}}, passed=("position_ids",)),
    heads(
        "temperature after rotary and norm",
        scores={"temperature": WARM},
        **TURNED,
        rotary={},
        qk={"norm": "rms_norm", "at": "after_rotary"},
    ),
    heads("output norm", output={"norm": NORM}, v_head_dim=3),
    heads("output gate", output={"gate": "sigmoid"}, v_head_dim=3),
    heads("output norm and gate", output={"norm": "rms_norm", "gate": "sigmoid"}),
    by_layer("alone"),
    by_layer("with softcap", softcap=0.3, scale=1.5),
    heads("not by layer", scores={"inverse_layer_scale": False}),
    memory(
        "another sequence, capped, sunk, warm and gated",
        "other_embeds",
        clip_qkv=0.5,
        output={"gate": "sigmoid"},
        scores={"softcap": 0.3, "sinks": "learned", "temperature": WARM},
        qk={"norm": "rms_norm", **PER_HEAD},
    ),
    memory("another sequence", "other_embeds", n_kv_heads=1, bias=True),
    memory("another sequence, said", "other_embeds", mask="full", qk={"norm": "rms_norm"}, v_head_dim=3),
    memory("the same length", "same_embeds", mask="causal", rotary={"theta": 7.0}),
    memory("the same length, biased", "same_embeds", mask="full", scores={"bias": {"kind": "t5", "n_buckets": 8}}),
    alone("short_conv", {"kind": "short_conv", "kernel": 3}),
    alone("short_conv with biases", {"kind": "short_conv", "kernel": 4, "bias": True}),
    latent("causal"),
    latent("full", mask="full", rotary={}),
    latent("low-rank queries", q_lora_rank=7, bias=True),
    latent("full queries", q_lora_rank=None, bias=False),
    latent("biased", bias=True),
    latent("normed otherwise", q_lora_rank=5, norm=NORM),
    latent("normed by name", q_lora_rank=5, norm="rms_norm"),
    latent("interleaved", rotary={"theta": 7.0, "style": "interleaved", "scaling": None}, mask="full"),
    latent("by halves", rotary={"theta": 7.0, "style": "half"}, passed=("position_ids",)),
    latent("window", mask={"kind": "causal", "window": 3, "keep_first": 1}),
    latent("prefix", mask="prefix", passed=("prefix_lengths",)),
    latent("yarn of DeepSeek", rotary={"theta": 7.0, "scaling": DEEPSEEK}),
    latent("yarn, another scale", rotary={"theta": 7.0, "scaling": DEEPSEEK}, scores={"scale": 0.4}),
    latent("yarn", rotary={"scaling": {"kind": "yarn", "factor": 4.0, "original_max_len": 6}}),
    latent("dynamic", rotary={"scaling": {"kind": "dynamic", "factor": 2.0, "original_max_len": 3}}),
    latent("scores", scores={"scale": "rsqrt_head_dim", "softcap": 0.3, "sinks": "learned"}),
    latent("zero sinks", scores={"sinks": "zero", "temperature": {**WARM, "offset": 1}, "bias": None}),
    latent("temperature", scores={"temperature": {**WARM, "offset": 0}, "softcap": None, "sinks": None}),
    latent("no temperature", scores={"temperature": None, "inverse_layer_scale": False}),
    layered(
        "latent by layer",
        {
            "kind": "mla",
            "n_heads": 2,
            "kv_lora_rank": 6,
            "qk_nope_head_dim": 3,
            "qk_rope_head_dim": 2,
            "v_head_dim": 5,
            "mask": "causal",
            "rotary": {},
            "scores": {"inverse_layer_scale": True},
        },
    ),
]
