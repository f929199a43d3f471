"""First values of parameters: by role, reproducible, and independent of the order in which a model is built."""

import torch

from flexit.ir.io.canonical import canonical
from flexit.ir.io.load import parse_spec
from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch

LAYERED = """
flexit: 1
name: by-role
init:
  default: {kind: normal, std: 0.05}
  embedding: {kind: normal, std: 0.5}
  residual_projection: {kind: normal, std: 0.1, depth_scaled: true}
  head: {kind: uniform, limit: 0.3}
  gain: {kind: constant, value: 0.7}
  bias: {kind: constant, value: -0.2}
blocks:
  embed: {kind: embedding, vocab_size: 300, d_model: 64}
  decoder:
    kind: stack
    n_layers: 8
    layer:
      kind: transformer_layer
      norm: layer_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 4, rotary: {}, mask: causal, init: {query_projection: {kind: zeros}}}
      feed_forward: {kind: mlp, d_ff: 128, bias: true}
    final_norm: true
  head: {kind: lm_head}
"""


def weights(spec, seed=3):
    return to_torch(spec, seed=seed).state_dict()


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_reproducible_and_different_with_another_seed(canary):
    first = weights(canary)
    assert_equal(weights(canary), first)
    other = weights(canary, seed=4)
    drawn = [name for name, value in first.items() if len(value.unique()) > 2]
    assert drawn
    assert all(not torch.equal(first[name], other[name]) for name in drawn)


def test_global_random_numbers_are_neither_read_nor_used_up(canary):
    torch.manual_seed(0)
    first = weights(canary)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert_equal(weights(canary), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_order_of_blocks_does_not_matter(canary):
    data = canonical(canary)
    turned = {**data, "blocks": dict(reversed(data["blocks"].items()))}
    spec = Spec.model_validate(Node.of(turned).plain())
    found, expected = to_torch(spec, seed=3), to_torch(canary, seed=3)
    assert list(spec.blocks) == list(reversed(canary.blocks))
    assert_equal(dict(found.named_parameters()), dict(expected.named_parameters()))


def test_what_else_the_model_has_does_not_matter():
    whole = weights(parse_spec(LAYERED.replace(", depth_scaled: true", "")))
    short = weights(parse_spec(LAYERED.replace(", depth_scaled: true", "").replace("n_layers: 8", "n_layers: 3")))
    assert len(short) < len(whole)
    assert_equal(short, {name: whole[name] for name in short})


def test_moments_by_role():
    found = weights(parse_spec(LAYERED))
    stds = {
        "embed.tokens.weight": 0.5,
        "decoder.layers.0.attention.k_proj.weight": 0.05,
        "decoder.layers.7.feed_forward.up_proj.weight": 0.05,
        "decoder.layers.0.attention.o_proj.weight": 0.1 / 16**0.5,
        "decoder.layers.7.feed_forward.down_proj.weight": 0.1 / 16**0.5,
        "head.table.weight": 0.3 / 3**0.5,
        "decoder.layers.3.attention.q_proj.weight": 0.0,
    }
    for name, std in stds.items():
        assert abs(found[name].std() - std) <= 0.05 * std, name
        assert abs(found[name].mean()) <= 4 * std / found[name].numel() ** 0.5, name
    assert found["head.table.weight"].abs().max() <= 0.3
    assert torch.all(found["decoder.layers.2.attention_input_norm.weight"] == 0.7)
    assert torch.all(found["decoder.layers.2.feed_forward.up_proj.bias"] == -0.2)
