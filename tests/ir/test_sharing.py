"""Blocks that share compute what twins with copied weights compute, and only the owner's parameters are there."""

import pytest
import torch

from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.export import export
from tests.stressed import stressed

LAYER = """{kind: transformer_layer, norm: layer_norm, norm_placement: pre,
    attention: {kind: multi_head, n_heads: 2, mask: causal}, feed_forward: {kind: mlp, d_ff: 12}}"""
STACK = f"kind: stack, n_layers: 2, final_norm: true, layer: {LAYER}"
BIASED = f"{STACK}, score_bias: {{kind: t5, n_buckets: 4, max_distance: 8}}"
GROUPED = f"kind: stack, n_layers: 4, share: {{groups: 2, order: cyclic}}, final_norm: true, layer: {LAYER}"
MOE = f"""kind: stack, n_layers: 1, final_norm: true, layer: {
    LAYER.replace(
        "{kind: mlp, d_ff: 12}", "{kind: moe, n_experts: 3, top_k: 2, expert: {kind: mlp, d_ff: 6, bias: true}}"
    )
}"""
NESTED = f"""kind: stack, n_layers: 2, share: {{groups: 1}}, variants: {{deep: {{n_layers: 3}}}},
    layer: {{kind: stack, n_layers: 2, share: {{groups: 1}}, final_norm: true, layer: {LAYER}}}"""

SHARED = {
    "stack": (f"a: {{{STACK}}}\n  b: {{kind: stack, shares: a}}", {"b": "a"}),
    "another activation": (
        f"a: {{{STACK}}}\n  b: {{kind: stack, shares: a, layer: {{feed_forward: {{activation: tanh}}}}}}", {"b": "a"},
    ),
    "another eps": (
        f"a: {{{STACK}}}\n  b: {{kind: stack, shares: a, layer: {{norm: {{kind: layer_norm, eps: 0.1}}}}}}", {"b": "a"},
    ),
    "one parameter more": (
        f"a: {{{STACK}}}\n  b: {{kind: stack, shares: a, layer: {{feed_forward: {{bias: true}}}}}}", {"b": "a"},
    ),
    "before its owner": (f"b: {{kind: stack, shares: a, from: words}}\n  a: {{{STACK}}}", {"b": "a"}),
    "biased stack": (f"a: {{{BIASED}}}\n  b: {{kind: stack, shares: a}}", {"b": "a"}),
    "experts": (f"a: {{{MOE}}}\n  b: {{kind: stack, shares: a}}", {"b": "a"}),
    "stack whose layers share": (
        f"a: {{{GROUPED}}}\n  b: {{kind: stack, shares: a}}",
        {"b.layers.2": "a.layers.0", "b.layers.3": "a.layers.1", "b": "a", "a.layers.2": "a.layers.0",
         "a.layers.3": "a.layers.1"},
    ),
    "stacks of one shared set each, the first deeper": (
        f"a: {{{NESTED}, layers: {{0: deep}}}}",
        {"a.layers.1": "a.layers.0", "a.layers.0.layers.1": "a.layers.0.layers.0",
         "a.layers.0.layers.2": "a.layers.0.layers.0"},
    ),
    "stacks of one shared set each, the last deeper": (
        f"a: {{{NESTED}, layers: {{1: deep}}}}",
        {"a.layers.1": "a.layers.0", "a.layers.1.layers.2": "a.layers.0.layers.0",
         "a.layers.0.layers.1": "a.layers.0.layers.0"},
    ),
    "inside a graph": (
        f"t: {{kind: graph, blocks: {{a: {{{BIASED}}}, l: {{kind: linear, d_out: 8}}, b: {{kind: stack, shares: a}}, "
        "u: {kind: linear, shares: l, activation: tanh}}}",
        {"t.b": "t.a", "t.u": "t.l"},
    ),
    "a block inside a graph that comes later": (
        f"b: {{kind: stack, shares: t.a, from: words}}\n  t: {{kind: graph, from: {{x: words}}, "
        f"blocks: {{a: {{{STACK}}}}}}}\n"
        "  s: {kind: add, from: [b, t]}",
        {"b": "t.a"},
    ),
    "inside every layer": (
        "a: {kind: stack, n_layers: 2, final_norm: rms_norm, layer: {kind: graph, blocks: {"
        "l: {kind: linear, d_out: 8, bias: true}, u: {kind: linear, shares: l, activation: tanh}}}}",
        {"a.layers.0.u": "a.layers.0.l", "a.layers.1.u": "a.layers.1.l"},
    ),
    "layers that differ in what is no parameter": (
        f"a: {{kind: stack, n_layers: 3, share: {{groups: 1}}, final_norm: true, layer: {LAYER}, "
        "variants: {v: {feed_forward: {activation: tanh}}, w: {norm: {kind: layer_norm, eps: 0.1}, "
        "attention: {scores: {scale: 0.2}}}}, layers: {1: v, 2: w}}",
        {"a.layers.1": "a.layers.0", "a.layers.2": "a.layers.0"},
    ),
}  # fmt: skip


def document(blocks):
    return f"""
flexit: 1
name: shared
blocks:
  words: {{kind: embedding, vocab_size: 11, d_model: 8, position: sinusoidal}}
  {blocks}
  head: {{kind: lm_head, tied_to: words}}
"""


def apart(spec):
    """The same spec with nothing shared."""
    data = spec.model_copy(deep=True)

    def visit(blocks):
        for name, block in blocks.items():
            changed = block.model_copy(update={"shares": None, **({"share": None} if hasattr(block, "share") else {})})
            blocks[name] = changed
            if hasattr(changed, "blocks"):
                visit(changed.blocks)
            if hasattr(changed, "plan"):
                changed.__dict__.pop("plan", None)

    visit(data.blocks)
    return data


def owner_of(path, owners):
    while (borrower := next((b for b in owners if path.startswith(f"{b}.")), None)) is not None:
        path = owners[borrower] + path[len(borrower) :]
    return path


@pytest.mark.parametrize("name", SHARED)
def test_as_twins_with_copied_weights(name):
    blocks, owners = SHARED[name]
    spec = parse_spec(document(blocks))
    twins = to_torch(apart(spec)) if name != "inside every layer" else None
    module = stressed(spec)
    own = dict(module.named_parameters())
    assert not [path for path in own if owner_of(path, owners) != path and owner_of(path, owners) in own]
    assert set(module.state_dict()) == set(own)
    if twins is None:
        assert set(own) == {
            "words.tokens.weight",
            "a.final_norm.weight",
            *(f"a.layers.{i}.l.{p}" for i in (0, 1) for p in ("weight", "bias")),
        }
        return
    copied = {
        path: own[owner_of(path, owners) if owner_of(path, owners) in own else path]
        for path, _ in twins.named_parameters()
    }
    assert set(own) <= set(copied)
    twins = to_torch(apart(spec), copied).eval()
    ids = torch.randint(0, 11, (2, 7), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(module(input_ids=ids)["logits"], twins(input_ids=ids)["logits"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize(
    "name", ["biased stack", "inside a graph", "layers that differ in what is no parameter", "experts"]
)
def test_goes_to_onnx(name, tmp_path):
    spec = parse_spec(document(SHARED[name][0]))
    module = stressed(spec)
    assert export(module, tmp_path / "bundle").manifest["evidence"]["error"] < 1e-5


def test_dropout_of_one_layer_of_a_group_acts_in_training():
    spec = parse_spec(document(
        f"a: {{kind: stack, n_layers: 2, share: {{groups: 1}}, final_norm: true, layer: {LAYER}, "
        "variants: {v: {dropout: 0.9}}, layers: {1: v}}"
    ))  # fmt: skip
    module = to_torch(spec)
    ids = torch.zeros(1, 5, dtype=torch.int64)
    module.train()
    assert not torch.equal(module(input_ids=ids)["logits"], module(input_ids=ids)["logits"])
    module.eval()
    assert torch.equal(module(input_ids=ids)["logits"], module(input_ids=ids)["logits"])


@pytest.mark.parametrize("body", ["layer", "graph"])
def test_first_values_of_variants_stay_apart(body):
    layer = "{kind: residual, norm: null, layer_scale: 0.1, body: {kind: linear, d_out: 8}}"
    change = "{layer_scale: 0.5}"
    if body == "graph":
        layer, change = f"{{kind: graph, blocks: {{a: {layer}}}}}", "{blocks: {a: {layer_scale: 0.5}}}"
    spec = parse_spec(document(
        f"s: {{kind: stack, n_layers: 2, final_norm: rms_norm, layer: {layer}, variants: {{v: {change}}}, "
        "layers: {1: v}}"
    ))  # fmt: skip
    first = [value.mean().item() for name, value in to_torch(spec).named_parameters() if name.endswith("layer_scale")]
    assert first == pytest.approx([0.1, 0.5])


GAINS = "norm: rms_norm, init: {projection: zeros}"
INIT = {
    "taken over": "a: {kind: mlp, d_ff: 4, GAINS}\n  b: {kind: mlp, shares: a}",
    "of its own parameter": (
        "a: {kind: mlp, d_ff: 4, GAINS}\n  b: {kind: mlp, shares: a, bias: true, init: {bias: ones}}"
    ),
    "inside, taken over": ("a: {kind: graph, blocks: {m: {kind: mlp, d_ff: 4, GAINS}}}\n  b: {kind: graph, shares: a}"),
    "of layers, taken over": (
        "a: {kind: stack, n_layers: 4, share: {groups: 2, order: cyclic}, layer: {kind: mlp, d_ff: 4, GAINS},"
        " variants: {v: {activation: tanh}}, pattern: [default*2, v*2]}\n  b: {kind: stack, shares: a}"
    ),
}


@pytest.mark.parametrize("name", INIT)
def test_init_that_is_taken_over_or_reaches_its_own(name):
    spec = parse_spec(document(INIT[name].replace("GAINS", GAINS)))
    again = parse_spec(spec.to_json())
    assert again == parse_spec(again.to_yaml())


def test_a_stack_that_the_command_line_shortened_may_have_as_many_groups_as_layers():
    text = document("a: {kind: stack, n_layers: 4, share: {groups: 2}, layer: {kind: mlp, d_ff: 4}}")
    assert parse_spec(text, sets=["blocks.a.n_layers=2"]).blocks["a"].n_layers == 2
