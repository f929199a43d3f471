"""Score biases, each attention's own and one lent by a stack, with every field of them."""

from tests.oracles.cases.case import alone, layered

NORM = {"kind": "layer_norm", "eps": 1e-3}


def own(name, mask="causal", *, heads=None, **bias):
    block = {"kind": "multi_head", "n_heads": 4, "mask": mask, "scores": {"bias": bias}, **(heads or {})}
    return alone(f"bias {bias['kind']} {name}", block)


def lent(name, mask="causal", *, heads=None, **bias):
    attention = {"kind": "multi_head", "n_heads": 4, "mask": mask, **(heads or {})}
    layer = {
        "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre", "attention": attention,
        "feed_forward": None,
    }  # fmt: skip
    return layered(f"bias {bias['kind']} lent {name}", layer, score_bias=bias)


def scored(name, mask="causal", *, scores, **bias):
    """With other things that happen to scores."""
    heads = {"kind": "multi_head", "n_heads": 4, "mask": mask, "scores": {**scores, "bias": bias}}
    layer = {
        "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre", "attention": heads,
        "feed_forward": None,
    }  # fmt: skip
    return layered(f"bias {bias['kind']} {name}", layer)


def both(name, mask="causal", **more):
    """An attention's own, and the same lent by a stack."""
    return [own(name, mask, **more), lent(name, mask, **more)]


WINDOW = {"kind": "causal", "window": 3}
GROUPED = {"n_kv_heads": 2, "head_dim": 6, "v_head_dim": 3, "bias": True}
SIX = {"n_heads": 6, "head_dim": 4}

OTHERS = {
    "softcap": {"softcap": 0.3, "scale": 1.5},
    "sinks": {"sinks": "learned", "temperature": {"scale": 0.8, "floor": 2}},
    "layers": {"inverse_layer_scale": True, "softcap": 0.4, "sinks": "zero"},
}

CASES = [
    own("causal", kind="t5", n_buckets=4, max_distance=6),
    own("full", "full", kind="t5", n_buckets=8, max_distance=6),
    own("full in one side", "full", kind="t5", n_buckets=4, max_distance=5, two_sided=False),
    own("causal in two sides", kind="t5", n_buckets=8, max_distance=5, two_sided=True),
    own("defaults", "full", kind="t5"),
    own("windowed", WINDOW, kind="t5", n_buckets=4, max_distance=6),
    *both("causal", kind="alibi"),
    *both("full", "full", kind="alibi"),
    own("bare", "full", kind="alibi", heads={"n_heads": 1}),
    own("of six heads", kind="alibi", bias_max=5.0, heads=SIX),
    own("scaled", kind="alibi", scaled=True, heads={"n_heads": 2}),
    own("rounded", kind="alibi", bias_max=5.3, round="bf16", heads=SIX),
    lent("rounded and scaled", WINDOW, kind="alibi", bias_max=3.1, round="bf16", scaled=True),
    *both("causal", kind="distance", max_distance=3),
    *both("full", "full", kind="distance", max_distance=3),
    own("beyond what there is", "full", kind="distance", max_distance=20),
    own("for all heads", "full", kind="distance", max_distance=2, per_head=False),
    own("of one side", "full", kind="distance", max_distance=3, two_sided=False),
    own("of two sides", WINDOW, kind="distance", max_distance=3, two_sided=True, per_head=True),
    *both("causal", kind="relative", max_distance=3),
    *both("full", "full", kind="relative", max_distance=2, heads=GROUPED),
    own("per head", "full", kind="relative", max_distance=3, per_head=True, heads=GROUPED),
    own("after scale", kind="relative", max_distance=3, scaled=False),
    *both("with values", "full", kind="relative", max_distance=3, values=True, heads=GROUPED),
    own("per head with values", kind="relative", max_distance=2, per_head=True, values=True, heads=GROUPED),
    own("of one side", "full", kind="relative", max_distance=3, two_sided=False, values=True),
    own("of two sides", kind="relative", max_distance=3, two_sided=True),
    own("of turned queries", kind="relative", max_distance=3, heads={"rotary": {"theta": 7.0}, "qk": {"norm": NORM}}),
    *both("causal", kind="relative_global", max_len=7),
    *both("full", "full", kind="relative_global", max_len=9, heads=GROUPED),
    own("for all heads", "full", kind="relative_global", max_len=7, per_head=False),
    own("of one side", "full", kind="relative_global", max_len=7, two_sided=False),
    own("of two sides", WINDOW, kind="relative_global", max_len=7, two_sided=True),
    *both("full", "full", kind="disentangled", n_buckets=4, max_distance=5, heads={"bias": True}),
    *both("causal", kind="disentangled", n_buckets=4, max_distance=6, norm=NORM, heads=GROUPED),
    *both("of its own projections", "full", kind="disentangled", n_buckets=5, max_distance=6, share_projections=False,
          heads={"bias": {"q": True}, "n_kv_heads": 2}),
    *[own(f"of {term} {way}", "full", kind="disentangled", n_buckets=6, max_distance=7, terms=[term],
          share_projections=shared, heads={"bias": {"k": True}})
      for term in ("c2p", "p2c") for way, shared in (("shared", True), ("alone", False))],
    own("exact alone", "full", kind="disentangled", n_buckets=2, max_distance=3),
    *[
        scored(f"with {how}", "full", scores=scores, **bias)
        for how, scores in OTHERS.items()
        for bias in (
            {"kind": "alibi", "scaled": True}, {"kind": "distance", "max_distance": 2},
            {"kind": "relative", "max_distance": 3, "values": True}, {"kind": "relative_global", "max_len": 7},
            {"kind": "disentangled", "n_buckets": 4, "max_distance": 5},
        )
    ],
    scored("after a softcap", scores=OTHERS["softcap"], kind="relative", max_distance=3, scaled=False),
    own("by the norm of the layer", "full", kind="disentangled", n_buckets=9, max_distance=8, norm="rms_norm"),
]  # fmt: skip
