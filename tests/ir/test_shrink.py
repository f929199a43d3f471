"""A model in miniature keeps what its architecture is."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest

from flexit.ir.analysis.cost import cost
from flexit.ir.io.load import check, load_spec, parse_spec, presets
from flexit.ir.language.layers import LayerPlan, Varied
from flexit.ir.shrink import HEAD_WIDTHS, MODEL_WIDTHS, shrink
from flexit.ir.spec import Spec, walk_blocks

REDUCED = {
    *MODEL_WIDTHS, *HEAD_WIDTHS, "n_heads", "n_kv_heads", "n_layers", "vocab_size", "n_experts", "top_k",
    "short_factor", "long_factor",
}  # fmt: skip


def leaves(data: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    if isinstance(data, dict):
        return {key: value for name, entry in data.items() for key, value in leaves(entry, (*path, name)).items()}
    if isinstance(data, list) and path[-1] not in REDUCED:
        return {key: value for i, entry in enumerate(data) for key, value in leaves(entry, (*path, i)).items()}
    return {path: data}


def text(spec: Spec) -> dict[tuple[Any, ...], Any]:
    assert spec.node is not None
    return leaves(spec.node.plain())


@pytest.mark.slow
@pytest.mark.parametrize("name", presets())
def test_only_sizes_differ(name):
    large, small = load_spec(name), shrink(load_spec(name))
    before, after = text(large), text(small)
    assert list(before) == list(after)
    differing = {path for path in before if before[path] != after[path]}
    assert differing
    assert {path[-1] for path in differing} <= REDUCED
    assert cost(small).parameters <= min(400_000, cost(large).parameters)


@pytest.mark.slow
@pytest.mark.parametrize("name", presets())
def test_every_distinct_layer_stays(name):
    def layers(spec: Spec) -> dict[str, int]:
        blocks = walk_blocks(spec.blocks)
        return {path: len(LayerPlan.of(block).blocks) for path, block in blocks if isinstance(block, Varied)}

    assert layers(load_spec(name)) == layers(shrink(load_spec(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", presets())
def test_it_warns_of_the_same_and_is_its_own_miniature(name):
    small = shrink(load_spec(name))
    codes = Counter(problem.code for problem in check(name).problems)
    assert Counter(problem.code for problem in _checked(small)) == codes
    assert shrink(small) == small


def _checked(spec: Spec):
    from flexit.ir.io.load import check_spec

    return check_spec(spec).problems


@pytest.mark.parametrize("name", ["gemma3-1b", "mistral-7b", "qwen3-0.6b", "t5-small"])
def test_ratios_stay(name):
    before, after = text(load_spec(name)), text(shrink(load_spec(name)))
    for keys in (MODEL_WIDTHS, HEAD_WIDTHS, {"n_heads", "n_kv_heads"}):
        ratios = {Fraction(after[path], before[path]) for path in before if path[-1] in keys}
        assert len(ratios) <= 1


def test_layers_that_are_read_by_index_stay_apart():
    spec = parse_spec("""
flexit: 1
name: exits
blocks:
  embed: {kind: embedding, vocab_size: 500, d_model: 64}
  decoder:
    kind: stack
    n_layers: 12
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 4, rotary: {}, mask: causal}
      feed_forward: {kind: mlp, d_ff: 128}
    final_norm: true
  early: {kind: lm_head, from: "decoder.layers[3]"}
  late: {kind: lm_head, from: "decoder.layers[-5]"}
  head: {kind: lm_head, from: decoder}
outputs: {logits: head, early: early, late: late}
""")
    decoder: Any = shrink(spec).blocks["decoder"]
    assert decoder.n_layers < 12
    assert decoder.n_layers - 5 != 3
    assert decoder.n_layers >= 5


def test_a_builder_spec_is_shrunk_like_its_text():
    spec = load_spec("gpt2")
    built = Spec.model_validate({**spec.node.plain()}) if spec.node else spec
    assert shrink(built).to_json() == shrink(spec).to_json()
