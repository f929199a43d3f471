"""Names of a spec never become code: a legal name is a path and nothing else; those that would collide are refused."""

import ast
import inspect
import json
import keyword
import re

import pytest
import torch
from torch import nn

from flexit.ir.io.load import check_text, parse_spec
from flexit.ir.language.names import PATTERN, RESERVED
from flexit.ir.passes import cut
from flexit.lower.torch.module import build, to_torch
from flexit.lower.torch.regions import RegionModule
from flexit.runtime.bundles.export import export

HOSTILE = [
    "getattr", "exec", "print", "import_os", "none", "true_", "class_", "x__init__", "a__class__", "dict", "self_",
    "v0", "v1", "f0", "n0", "n1", "_c0"[1:], "torch", "layers", "weight", "bias", "tokens", "logits", "body",
    "code", "a" * 64, "b" + "_" * 63, "z9" * 32,
]  # fmt: skip
MADE_UP = re.compile(r"self|forward|getattr|float|shape|training|[vfn][0-9]+|_c[0-9]+")
"""All that generated code may contain."""


def document(name: str, source: str = "input_ids") -> str:
    layer = {"kind": "graph", "blocks": {
        name: {"kind": "linear", "d_out": 8, "bias": True, "from": "x"},
        f"{name[:60]}_b": {"kind": "residual", "body": {"kind": "mlp", "d_ff": 6}},
    }}  # fmt: skip
    blocks = {
        "words": {"kind": "embedding", "from": source, "vocab_size": 11, "d_model": 8},
        name: {"kind": "stack", "n_layers": 2, "layer": layer},
        "scores": {"kind": "lm_head"},
    }
    blocks["words"]["position"] = {"kind": "learned", "max_len": 9}
    return json.dumps({"flexit": 1, "name": "hostile", "inputs": {source: "tokens"}, "blocks": blocks})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_legal_name_is_a_path_and_nothing_else(name):
    module = to_torch(parse_spec(document(name)))
    ids = torch.tensor([[1, 2, 3]])
    plain = to_torch(parse_spec(document("plain")))
    plain.load_state_dict(dict(zip(plain.state_dict(), module.state_dict().values(), strict=True)))
    assert torch.equal(module(input_ids=ids)["logits"], plain(input_ids=ids)["logits"])
    assert f"{name}.layers.1.{name}.weight" in module.state_dict()
    assert_made_up(module)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_input_may_have_any_legal_name(name):
    module = to_torch(parse_spec(document("plain", source=name)))
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(module(**{name: ids})["logits"], module(ids)["logits"])


def assert_made_up(module):
    for part in module.modules():
        if isinstance(part, RegionModule) and isinstance(getattr(part, "code", None), str):
            for node in ast.walk(ast.parse(part.code)):
                names = [getattr(node, field, None) for field in ("id", "attr", "arg", "name")]
                assert all(MADE_UP.fullmatch(found) for found in names if isinstance(found, str)), part.code
                if isinstance(node, ast.Constant):
                    text = isinstance(node.value, str)
                    assert not text or node.value in ("inf", "-inf", "nan"), part.code


def test_generated_code_contains_made_up_names_and_numbers_only(canary):
    assert_made_up(to_torch(canary))


def test_what_a_model_has_is_reserved():
    module = to_torch(parse_spec(document("plain")))
    children = {name for name, _ in module.named_children()}
    taken = {*dir(nn.Module), *vars(type(module)), *dir(type(module)), *vars(module)} - children
    legal = {name for name in taken - {"code"} if PATTERN.fullmatch(name) and not keyword.iskeyword(name)}
    assert legal <= RESERVED, f"not reserved: {sorted(legal - RESERVED)}"


@pytest.mark.parametrize(
    "name", ["forward", "spec", "program", "empty_cache", "cache", "aux", "self", "class", "lambda"]
)
def test_what_would_collide_is_refused(name):
    for text in (document(name), document("plain", source=name)):
        assert {problem.code for problem in check_text(text).problems} == {"FX0209"}


TWINS = """
flexit: 1
name: twins
inputs: {input_ids: tokens, decoder_input_ids: tokens}
blocks:
  src: {kind: embedding, from: input_ids, vocab_size: 30, d_model: 16}
  tgt: {kind: embedding, from: decoder_input_ids, vocab_size: 30, d_model: 16, position: sinusoidal}
  a: {kind: graph, from: {x: tgt, memory: src}, blocks: {b_c: LAYER}}
  a_b: {kind: graph, from: {x: a, memory: src}, blocks: {c: LAYER}}
  head: {kind: lm_head, tied_to: tgt}
""".replace(
    "LAYER",
    "{kind: transformer_layer, from: {x: x, memory: memory}, norm: null, feed_forward: null,"
    " attention: {kind: multi_head, n_heads: 2, mask: causal}, cross_attention: {kind: multi_head, n_heads: 2}}",
)


@pytest.mark.ort
def test_paths_that_differ_in_their_dots_alone(tmp_path):
    module = to_torch(parse_spec(TWINS))
    assert export(module, tmp_path / "bundle").manifest["evidence"]["error"] < 1e-5
    decoder = to_torch(parse_spec(TWINS)).program
    keys = [name for name in inspect.signature(build(cut.decode(decoder)).forward).parameters if "_key" in name]
    assert keys == ["a_b_c_cross_attention_key", "a_b_c_cross_attention_key_2"]
