"""First values: which entry a parameter's role picks, and moments of every way to draw against their formulas."""

import json
import math
import re
from functools import cache

import numpy as np
import pytest

from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import to_torch
from tests.oracles.cases.case import document
from tests.oracles.reference.fields import Fields, Ledger

WIDTH, FF, VOCAB, HEAD_DIM = 64, 256, 300, 24
HEADS = {"kind": "multi_head", "n_heads": 2, "head_dim": HEAD_DIM, "mask": "causal", "bias": True}
LAYER = {
    "kind": "transformer_layer", "norm": "layer_norm", "norm_placement": "pre", "attention": HEADS,
    "feed_forward": {"kind": "mlp", "d_ff": FF, "bias": True},
}  # fmt: skip
TABLE = {
    "kind": "embedding", "vocab_size": VOCAB, "d_model": WIDTH, "position": {"kind": "learned", "max_len": 200},
    "token_types": 1,
}  # fmt: skip
BIAS = {"kind": "t5", "n_buckets": 32, "max_distance": 64}
MOE = {
    "kind": "moe", "n_experts": 8, "top_k": 2, "expert": {"kind": "gated_mlp", "d_ff": FF},
    "shared": {"kind": "mlp", "d_ff": FF}, "shared_gate": True,
}  # fmt: skip
VARIANTS = {"conv": {"attention": {"kind": "short_conv", "kernel": 4}}, "moe": {"feed_forward": MOE}}

ROLE_OF = (
    (r"embed\.tokens\.weight", "embedding"),
    (r"embed\.positions\.weight", "position"),
    (r"embed\.token_types\.weight", "token_type"),
    (r".*\.score_bias\.weight", "score_bias"),
    (r".*\.q_proj\.weight", "query_projection"),
    (r".*\.(o_proj|down_proj|out_proj)\.weight", "residual_projection"),
    (r".*\.(k_proj|v_proj|up_proj|gate_proj|in_proj)\.weight|linear\.weight", "projection"),
    (r".*\.conv\.weight", "conv"),
    (r".*\.router\.weight", "router"),
    (r".*\.shared_gate\.weight", "gate"),
    (r"(head\.table|classes\.out)\.weight", "head"),
    (r".*norm\.weight", "gain"),
    (r".*bias", "bias"),
)
"""Parameter paths and their roles, as the language says them."""


def model(init=None, **inits):
    """A model that has a parameter of every role; ``inits`` are entries of single blocks."""
    blocks = {
        "embed": {**TABLE},
        "body": {
            "kind": "stack", "n_layers": 4, "layer": LAYER, "variants": VARIANTS, "pattern": ["default", "conv", "moe"],
            "score_bias": BIAS, "final_norm": True,
        },
        "linear": {"kind": "linear", "d_out": FF},
        "head": {"kind": "lm_head", "vocab_size": VOCAB},
        "classes": {"kind": "sequence_classifier", "from": "linear", "n_labels": 5, "pool": "last"},
    }  # fmt: skip
    for path, entry in inits.items():
        blocks[path] = {**blocks[path], "init": entry}
    more = {} if init is None else {"init": init}
    return document(blocks, outputs={"logits": "head", "classes": "classes"}, **more)


def first_values(spec, seed=0):
    module = to_torch(parse_spec(json.dumps(spec)), seed=seed)
    return {path: value.detach().numpy().astype(np.float64) for path, value in module.named_parameters()}


def role_of(path):
    return next(role for pattern, role in ROLE_OF if re.fullmatch(pattern, path))


def constant(number):
    return {"kind": "constant", "value": float(number)}


# ---- which entry


NUMBERS = {role: constant(2 + index) for index, (_, role) in enumerate(ROLE_OF)}


def test_every_role_has_its_entry():
    values = first_values(model(NUMBERS))
    assert {role_of(path) for path in values} == set(NUMBERS)
    for path, array in values.items():
        assert (array == NUMBERS[role_of(path)]["value"]).all(), path


def test_roles_follow_others():
    values = first_values(model({"default": constant(5), "projection": constant(6)}))
    ones = {"gain": 1.0, "bias": 0.0}
    follow = dict.fromkeys(("projection", "query_projection", "residual_projection"), 6.0)
    for path, array in values.items():
        assert (array == {**ones, **follow}.get(role_of(path), 5.0)).all(), path


def test_the_innermost_entry_wins():
    values = first_values(model(NUMBERS, body={"query_projection": constant(30), "default": constant(40)}))
    for path, array in values.items():
        role = role_of(path)
        expected = NUMBERS[role]["value"]
        if path.startswith("body.") and role not in ("gain", "bias"):
            expected = 30.0 if role == "query_projection" else 40.0
        assert (array == expected).all(), path


@pytest.mark.parametrize(
    ("init", "stored"),
    [({}, 0.25), ({"gain": "ones"}, 0.25), ({"gain": "zeros"}, -0.75), ({"gain": constant(3)}, 2.25)],
)
def test_an_entry_for_gains_means_the_applied_gain(init, stored):
    norm = {"kind": "rms_norm", "gain_offset": 0.75}
    at_document = document({"embed": TABLE, "norm": norm}, init=init)
    at_block = document({"embed": TABLE, "norm": {**norm, "init": init}})
    for spec in (at_document, at_block):
        assert (first_values(spec)["norm.weight"] == stored).all()


def test_drawn_gains_are_applied_gains_too():
    spread = {"kind": "uniform", "limit": 0.1}
    norm = {"kind": "rms_norm", "gain_offset": 1.0, "init": {"gain": spread}}
    stored = first_values(document({"embed": TABLE, "norm": norm}))["norm.weight"]
    assert (abs(stored + 1.0) <= 0.1).all()
    assert stored.std() > 0.01


def test_defaults():
    values = first_values(model())
    for path, array in values.items():
        role = role_of(path)
        if role in ("gain", "bias"):
            assert (array == (role == "gain")).all()
        elif array.size > 1000:
            assert array.std() == pytest.approx(0.02, rel=0.1), path


def test_fields_that_say_first_values():
    inputs = {name: {"kind": "vector", "width": 3} for name in ("one", "two")}
    spec = document({"sum": {"kind": "weighted_sum", "from": ["one", "two"], "initial": [0.3, -2.0]}}, inputs=inputs)
    assert first_values(spec)["sum.weights"].ravel().tolist() == pytest.approx([0.3, -2.0])
    spec["blocks"]["sum"] = {**spec["blocks"]["sum"], "initial": None, "weights": "channel"}
    assert (first_values(spec)["sum.weights"] == 0.5).all()
    mlp = {"kind": "mlp", "d_ff": 5}
    scaled = {"kind": "residual", "body": mlp, "layer_scale": 0.25}
    layer = {**LAYER, "residual": {"kind": "sequential", "layer_scale": 0.125}}
    values = first_values(document({"embed": TABLE, "one": scaled, "two": layer}))
    assert (values["one.layer_scale"] == 0.25).all()
    assert (values["two.attention_layer_scale"] == 0.125).all()


def test_what_is_added_for_the_choice_begins_at_zero_and_is_not_trained():
    block = {**MOE, "router": {"selection_bias": True, "bias": True}}
    spec = document({"embed": TABLE, "experts": block}, init={"default": "ones", "bias": "ones"})
    values = first_values(spec)
    assert not values["experts.router.selection_bias"].any()
    assert values["experts.router.bias"].all()
    trained = {name: one.requires_grad for name, one in to_torch(parse_spec(json.dumps(spec))).named_parameters()}
    assert [name for name, flag in trained.items() if not flag] == ["experts.router.selection_bias"]


def test_a_seed_draws_each_parameter_by_its_path():
    spec = model()
    one, again, other = first_values(spec), first_values(spec), first_values(spec, seed=1)
    drawn = [path for path in one if role_of(path) not in ("gain", "bias")]
    assert all(np.array_equal(one[path], again[path]) for path in drawn)
    assert not any(np.array_equal(one[path], other[path]) for path in drawn)
    q, k = (one[f"body.layers.0.attention.{name}_proj.weight"] for name in "qk")
    assert not np.array_equal(q, k)


# ---- ways to draw


UP, Q = "body.layers.0.feed_forward.up_proj.weight", "body.layers.0.attention.q_proj.weight"
EXPERTS, CONV = "body.layers.2.feed_forward.experts.up_proj.weight", "body.layers.1.attention.conv.weight"
FANS = {
    UP: (WIDTH, FF), Q: (WIDTH, 2 * HEAD_DIM), EXPERTS: (WIDTH, FF), CONV: (4, WIDTH * 4),
    "embed.tokens.weight": (WIDTH, VOCAB),
}  # fmt: skip
"""(fan in, fan out): inputs and outputs of a unit, the taps of a filter counted."""
D_MODEL = dict.fromkeys(FANS, WIDTH)
BRANCHES = 8
"""Two branches in each of four layers."""


def std_of(how: Fields, path):
    """A normal's standard deviation."""
    std = how.get("std", 0.02)
    std = {
        "rsqrt_d_model": D_MODEL[path] ** -0.5,
        "rsqrt_fan_in": FANS[path][0] ** -0.5,
        "rsqrt_fan_in_head_dim": (FANS[path][0] * HEAD_DIM) ** -0.5,
    }.get(std, std)
    return std / math.sqrt(BRANCHES) if how.get("depth_scaled", False) else std


def expected(how: Fields, path):
    """(std, largest absolute value, fourth moment over squared variance); None where it has no bound."""
    fan_in, fan_out = FANS[path]
    if how.kind == "normal":
        return std_of(how, path), None, 3.0
    if how.kind == "truncated_normal":
        std, density = std_of(how, path), math.exp(-2.0) / math.sqrt(2 * math.pi)
        mass = math.erf(2 / math.sqrt(2))
        variance = 1 - 4 * density / mass
        return std * math.sqrt(variance), 2 * std, (3 * variance - 16 * density / mass) / variance**2
    if how.kind.startswith("xavier"):
        std = how.get("gain", 1.0) * math.sqrt(2 / (fan_in + fan_out))
        std = std / math.sqrt(BRANCHES) if how.get("depth_scaled", False) else std
    elif how.kind.startswith("kaiming"):
        fan = {"in": fan_in, "out": fan_out}[how.get("fan", "in")]
        std = how.get("gain", math.sqrt(2.0)) / math.sqrt(fan)
    else:
        assert how.kind == "uniform"
        std = how.get("limit") / math.sqrt(3)
    return (std, None, 3.0) if how.kind.endswith("normal") else (std, std * math.sqrt(3), 1.8)


NORMALS = [
    (path, {"kind": kind, **fields})
    for kind in ("normal", "truncated_normal")
    for path, fields in (
        (UP, {}), (UP, {"std": 0.3}), (UP, {"std": "rsqrt_d_model"}), (UP, {"std": "rsqrt_fan_in"}),
        (Q, {"std": "rsqrt_fan_in_head_dim"}), (UP, {"std": 0.3, "depth_scaled": True}), (EXPERTS, {"std": 0.1}),
        ("embed.tokens.weight", {"std": "rsqrt_d_model"}), (CONV, {"std": "rsqrt_fan_in", "depth_scaled": False}),
    )
]  # fmt: skip
SPREADS = [
    (path, {"kind": f"{kind}_{shape}", **fields})
    for shape in ("uniform", "normal")
    for path, kind, fields in (
        (UP, "xavier", {}), (UP, "xavier", {"gain": 3.0}), (UP, "xavier", {"depth_scaled": True}),
        (EXPERTS, "xavier", {"depth_scaled": False}), (UP, "kaiming", {}), (UP, "kaiming", {"gain": 1.0}),
        (UP, "kaiming", {"fan": "out"}), (EXPERTS, "kaiming", {"fan": "in"}),
    )
]  # fmt: skip
DRAWN = [*NORMALS, *SPREADS, (UP, {"kind": "uniform", "limit": 0.7})]


def entry_for(path, how):
    """The document's init that concerns the parameter."""
    return {role_of(path): how}


@pytest.mark.parametrize(("path", "how"), DRAWN, ids=lambda part: part if isinstance(part, str) else str(part))
def test_moments(path, how):
    array = first_values(model(entry_for(path, how)))[path]
    std, bound, fourth = expected(Fields(Ledger(), how, family="Init"), path)
    n = array.size
    assert abs(array.mean()) < 5 * std / math.sqrt(n)
    assert abs((array**2).mean() / std**2 - 1) < 5 * math.sqrt((fourth - 1) / n)
    assert (array**4).mean() / (array**2).mean() ** 2 == pytest.approx(fourth, rel=0.35)
    if bound is not None:
        assert bound * 0.9 < np.abs(array).max() < bound * (1 + 1e-6)


EXACT = [
    {"kind": "orthogonal"}, {"kind": "orthogonal", "gain": 2.0}, constant(0.5), "zeros", "ones",
]  # fmt: skip


@pytest.mark.parametrize("how", EXACT, ids=str)
def test_exact_values(how):
    fields = Fields(Ledger(), how, family="Init")
    values = first_values(model({"projection": how}))
    for array in (values[UP], *values[EXPERTS]):
        if fields.kind == "orthogonal":  # more rows than columns: the columns are orthogonal
            expected_product = np.eye(WIDTH) * fields.get("gain", 1.0) ** 2
            assert np.allclose(array.T @ array, expected_product, atol=1e-5)
        else:
            number = {"zeros": 0.0, "ones": 1.0}.get(fields.kind)
            assert (array == (fields.get("value") if number is None else number)).all()


@cache
def ledger():
    """What the tests of this file read of the language."""
    found = Ledger()
    for path, how in DRAWN:
        expected(Fields(found, how, family="Init"), path)
    for how in EXACT:
        fields = Fields(found, how, family="Init")
        if fields.kind == "orthogonal":
            fields.get("gain", 1.0)
        elif fields.kind == "constant":
            fields.get("value")
    found.note("Spec", "init", NUMBERS, written=True)
    found.note("Block", "init", {"default": constant(40)}, written=True)
    found.note("Block.weighted_sum", "initial", [0.3, -2.0], written=True)
    found.note("Block.weighted_sum", "initial", None, written=True)
    return found
