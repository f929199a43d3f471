"""The JSON Schemas in ``schemas/`` are what the code says, explain every property, and refuse what flexit refuses."""

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from flexit.cli.listing import schema_text
from flexit.ir.io.load import check_text, presets
from flexit.ir.io.yaml import read
from flexit.runtime.train.read import parse_config

ROOT = Path(__file__).parents[2]
WHICH = ("spec", "run", "compare")
LAYER = (
    "{kind: transformer_layer, norm: null, attention: {kind: multi_head, n_heads: 2, mask: causal}, feed_forward: null}"
)
RUN = """
flexit: 1
model: tiny-llama
task: causal_lm
data: {train: {kind: text, files: ["*.txt"]}, seq_len: 32, tokenizer: bpe}
steps: 10
out: run
"""


def schema(which: str) -> dict[str, Any]:
    return json.loads((ROOT / "schemas" / f"{which}.schema.json").read_text(encoding="utf-8"))


def errors(which: str, text: str | bytes) -> list[str]:
    document = read(text, "document.yaml").plain()
    return [error.message for error in Draft202012Validator(schema(which)).iter_errors(document)]


def spec(blocks: str, head: str = "flexit: 1\nname: n") -> str:
    return f"{head}\nblocks: {{{blocks}}}"


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a schema."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(child)


@pytest.mark.parametrize("which", WHICH)
def test_the_file_is_what_the_code_says(which, golden):
    golden(ROOT / "schemas" / f"{which}.schema.json", schema_text(which))


@pytest.mark.parametrize("which", WHICH)
def test_it_is_a_schema_of_draft_2020_12(which):
    assert schema(which)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema(which))


@pytest.mark.parametrize("which", WHICH)
def test_every_property_has_a_description(which):
    bare = [
        (name, entry)
        for part in parts(schema(which))
        for name, entry in part.get("properties", {}).items()
        if isinstance(part.get("properties"), dict) and not entry.get("description")
    ]
    assert not bare


@pytest.mark.parametrize("which", WHICH)
def test_every_default_fits_its_own_property(which):
    document = schema(which)
    seen = 0
    for part in parts(document):
        if "default" in part and ("type" in part or "anyOf" in part or "$ref" in part or "enum" in part):
            seen += 1
            Draft202012Validator({**part, "$defs": document["$defs"]}).validate(part["default"])
    assert seen > 10


@pytest.mark.parametrize("name", presets())
def test_presets_are_valid(name):
    assert errors("spec", (resources.files("flexit.presets") / f"{name}.yaml").read_bytes()) == []


@pytest.mark.parametrize(
    "blocks",
    [
        "a: {kind: 'acme:mixer', anything: [1, {two: 3}]}",
        "a: 'acme:mixer'",
        "a: {kind: stack, n_layers: 2, layer: {kind: 'acme:layer', width: 3}}",
        f"s: {{kind: stack, n_layers: 2, layer: {LAYER.replace('norm: null', 'norm: {kind: acme:norm, eps: 1}')}}}",
    ],
)
def test_a_kind_of_a_plugin_is_an_open_mapping(blocks):
    assert errors("spec", spec(blocks)) == []


@pytest.mark.parametrize(
    "text",
    [
        spec("e: {kind: embedding, vocab_size: 10, d_model: 8}", head="name: n"),
        spec("e: {kind: embedding, vocab_size: 10, d_model: 8}", head="flexit: 2\nname: n"),
        spec("e: {kind: embedding, vocab_size: '10', d_model: 8}"),
        spec("e: {kind: embedding, vocab_size: 0, d_model: 8}"),
        spec("e: {kind: embedding, vocab_size: 10, d_modle: 8}"),
        spec("e: {kind: embeding, vocab_size: 10, d_model: 8}"),
        spec("e: {vocab_size: 10, d_model: 8}"),
        spec("e: {kind: embedding, vocab_size: 10, d_model: 8, norm: causal}"),
        spec("e: {kind: embedding, vocab_size: null, d_model: 8}"),
        spec("e: {kind: embedding, vocab_size: 10, d_model: 8, dropout: 1.0}"),
        spec("E: {kind: embedding, vocab_size: 10, d_model: 8}"),
        spec("e: mlp"),
        spec("e: {kind: mlp, activation: gelu}"),
        spec("e: {kind: mlp, d_ff: 8, activation: swish}"),
        spec(f"s: {{kind: stack, layer: {LAYER}}}"),
        spec("s: {kind: stack, n_layers: 2, layer: {kind: mlp, d_ff: 8, from: x}}"),
        spec("e: {kind: embedding, vocab_size: 10, d_model: 8, from: {tokens: {each: a, order: backwards}}}"),
        spec("e: {kind: embedding, vocab_size: 10, d_model: 8, rotary: {}}"),
    ],
)
def test_what_it_refuses_in_a_spec_flexit_refuses_too(text):
    assert errors("spec", text)
    assert not check_text(text, "document.yaml").valid


@pytest.mark.parametrize("name", presets())
def test_a_block_without_its_kind_is_refused(name):
    document = read((resources.files("flexit.presets") / f"{name}.yaml").read_bytes(), name).plain()
    for block in document["blocks"].values():
        block.pop("kind")
    assert not Draft202012Validator(schema("spec")).is_valid(document)


def test_a_run_config_is_valid():
    parse_config(RUN)
    assert errors("run", RUN) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("steps: 10", "steps: 0"), ("steps: 10", "stepz: 10"), ("steps: 10", ""), ("out: run", "out: null"),
        ("causal_lm", "translation"), ("tokenizer: bpe", "tokenizer: file"), ("tokenizer: bpe", "tokenizer: tokens"),
        ("seq_len: 32", "seq_len: 1"), ("out: run", "out: run\nschedule: {kind: cosine, final: 2}"),
        ("out: run", "out: run\nseed: -1"), ("out: run", "out: run\noptimizer: {lr: 1e-3}"),
    ],
)  # fmt: skip
def test_what_it_refuses_in_a_run_config_flexit_refuses_too(old, new):
    text = RUN.replace(old, new)
    assert errors("run", text)
    with pytest.raises(ValueError, match="FX0"):
        parse_config(text)
