"""Two specs compared."""

from __future__ import annotations

import pytest

from flexit.ir.analysis.cost import cost
from flexit.ir.io.load import load_spec, parse_spec, presets
from flexit.ir.views.difference import Change, difference


@pytest.mark.parametrize("name", ["bart-base", "gemma3-1b", "tiny-unet"])
def test_a_spec_does_not_differ_from_its_canonical_form(name):
    spec = load_spec(name)
    found = difference(spec, parse_spec(spec.to_json()))
    assert not found.fields
    assert not found.shapes
    assert not found.costs
    assert found.same_program


def test_fields_shapes_and_cost():
    before, after = load_spec("gpt2"), load_spec("gpt2", sets=["blocks.decoder.layer.attention.bias=false"])
    found = difference(before, after)
    assert found.fields == (Change("blocks.decoder.layer.attention.bias", "true", "false"),)
    assert found.shapes == tuple(
        Change(f"decoder.layers.0-11.attention.{name}_proj.bias", "[768]", "-") for name in "qkvo"
    )
    parameters = next(change for change in found.costs if change.path == "parameters")
    assert parameters.before == f"{cost(before).parameters:,}"
    assert parameters.after.startswith(f"{cost(after).parameters:,} (")


def test_another_kind_is_one_change():
    found = difference(load_spec("mistral-7b"), load_spec("mixtral-8x7b"))
    assert Change("blocks.decoder.layer.feed_forward", "gated_mlp", "moe") in found.fields
    assert not [change for change in found.fields if change.path.startswith("blocks.decoder.layer.feed_forward.")]


def test_dropout_changes_what_is_chosen_and_not_what_is_computed():
    found = difference(load_spec("tiny-gpt2"), load_spec("tiny-gpt2", sets=["blocks.decoder.layer.dropout=0.2"]))
    assert [change.path for change in found.fields] == ["blocks.decoder.layer.dropout"]
    assert found.same_program
    assert not found.shapes


def test_layers_are_listed_together_only_where_they_change_alike():
    sets = ["blocks.decoder.variants={wide: {feed_forward: {d_ff: 100}}}", "blocks.decoder.layers={2: wide}"]
    found = difference(load_spec("gpt2"), load_spec("gpt2", sets=sets))
    assert {change.path.rpartition(".feed_forward")[0] for change in found.shapes} == {"decoder.layers.2"}


@pytest.mark.parametrize("name", [name for name in presets() if name.startswith("tiny")])
def test_everything_differs_from_something_else(name):
    other = "tiny-gpt2" if name != "tiny-gpt2" else "tiny-llama"
    found = difference(load_spec(other), load_spec(name))
    assert found.fields
    assert found.shapes
    assert not found.same_program


def test_blocks_called_layers_are_no_layers_of_a_stack():
    def text(width: int) -> str:
        return f"""
flexit: 1
name: odd
blocks:
  embed: {{kind: embedding, vocab_size: 9, d_model: 8}}
  layers: {{kind: graph, blocks: {{layers: {{kind: linear, d_out: {width}}}}}}}
"""

    found = difference(parse_spec(text(8)), parse_spec(text(12)))
    assert found.shapes == (Change("layers.layers.weight", "[8, 8]", "[12, 8]"),)
