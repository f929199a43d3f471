"""Files as others write them: keys that are left out, shapes that vary, scalings that only factors say."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import flexit
from flexit.convert.gguf.reading import as_checkpoint
from flexit.convert.gguf.writing import to_gguf
from flexit.convert.importing import read_source
from flexit.convert.pretrained import from_pretrained
from flexit.convert.sources.source import open_source
from flexit.ir.io.canonical import canonical_layers
from tests.convert.gguf.models import model_for

PLAIN = Path(__file__).parent / "plain.yaml"
ROTARY = "blocks.decoder.layer.attention.rotary"


def written(folder, *sets):
    """A spec, its parameters, and a file of them."""
    spec = flexit.load_spec(PLAIN, sets=list(sets))
    weights = flexit.to_torch(spec, seed=0).state_dict()
    to_gguf(spec, weights, folder / "x.gguf", dtype="f32")
    return spec, weights, folder / "x.gguf"


def read(path, change):
    """The spec and weights of a file whose metadata and tensors are changed."""
    opened = open_source(path)
    metadata, tensors = dict(opened.gguf.metadata), dict(opened.gguf.tensors)
    change(metadata, tensors)
    file = replace(opened.gguf, metadata=metadata, tensors=tensors)
    spec, weights, _ = read_source(*as_checkpoint(replace(opened, gguf=file), file, None))
    return spec, weights


def scaling(spec):
    """The scaling of the first layer, as it is written canonically."""
    return canonical_layers(spec.blocks["decoder"])[0]["attention"]["rotary"]["scaling"]


def test_what_most_files_leave_out(tmp_path):
    _, _, path = written(tmp_path, "blocks.decoder.layer.attention.n_kv_heads=4")

    def change(metadata, tensors):
        del tensors
        for key in ("vocab_size", "attention.key_length", "attention.value_length", "attention.head_count_kv",
                    "rope.dimension_count", "rope.freq_base"):  # fmt: skip
            metadata.pop(f"llama.{key}")
        metadata["tokenizer.ggml.tokens"] = [str(row) for row in range(320)]

    assert read(path, change)[0].blocks == read(path, lambda metadata, tensors: None)[0].blocks


def test_a_factor_without_a_type_is_linear(tmp_path):
    _, _, path = written(tmp_path)
    found, _ = read(path, lambda metadata, tensors: metadata.update({"llama.rope.scaling.factor": 4.0}))
    assert scaling(found) == scaling(flexit.load_spec(PLAIN, sets=[f"{ROTARY}.scaling={{kind: linear, factor: 4.0}}"]))


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_the_scaling_of_llama_3_is_known_by_its_factors(tmp_path, factor):
    said = f"{{kind: llama3, factor: {factor}, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_len: 8192}}"
    spec, _, path = written(tmp_path, f"{ROTARY}.theta=500000.0", f"{ROTARY}.scaling={said}")
    assert scaling(from_pretrained(path).spec) == scaling(spec)


def test_factors_of_another_length_are_kept_as_they_are(tmp_path):
    said = "{kind: llama3, factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 2.0, original_max_len: 64}"
    spec, weights, path = written(tmp_path, f"{ROTARY}.scaling={said}")
    found = from_pretrained(path)
    assert scaling(found.spec)["short_factor"] == scaling(found.spec)["long_factor"]
    ids = torch.arange(40)[None]
    with torch.no_grad():
        given = flexit.to_torch(spec, weights).eval()(input_ids=ids)["logits"]
        again = flexit.to_torch(found.spec, found.weights).eval()(input_ids=ids)["logits"]
    assert torch.allclose(given, again, atol=1e-5)


@pytest.mark.slow
def test_a_gate_of_one_row(tmp_path):
    """Some files have the gate of shared experts as a matrix."""
    model = model_for("qwen2_moe", 1)
    model.save_pretrained(tmp_path / "theirs")
    pretrained = from_pretrained(tmp_path / "theirs")
    to_gguf(pretrained.spec, pretrained.weights, tmp_path / "x.gguf", dtype="f32")
    name = "blk.0.ffn_gate_inp_shexp.weight"

    def change(metadata, tensors):
        del metadata
        tensors[name] = tensors[name].then((1, *tensors[name].shape), lambda array: array[None])

    _, weights = read(tmp_path / "x.gguf", change)
    gate = "decoder.layers.0.feed_forward.shared_gate.weight"
    assert weights[gate].numpy().tobytes() == pretrained.weights[gate].numpy().tobytes()


def test_another_family_or_a_mapping_file_may_say_whose_layers_they_are(tmp_path):
    spec, weights, path = written(tmp_path)
    (tmp_path / "mine.yaml").write_text("family: mine\nextends: llama\n")
    for family in ("mistral", tmp_path / "mine.yaml"):
        found = from_pretrained(path, family=family)
        assert found.family in ("mistral", "mine")
        assert found.spec.blocks["decoder"].n_layers == spec.blocks["decoder"].n_layers
        assert all(torch.equal(found.weights[name].torch(), each) for name, each in weights.items())


def test_weights_in_bf16_are_rounded_once(tmp_path):
    spec = flexit.load_spec(PLAIN)
    weights = {name: each.bfloat16() for name, each in flexit.to_torch(spec, seed=0).state_dict().items()}
    to_gguf(spec, weights, tmp_path / "x.gguf")
    found = from_pretrained(tmp_path / "x.gguf").weights
    for name, each in weights.items():
        expected = each.float() if each.dim() == 1 else each.float().half()
        assert torch.equal(found[name].torch(), expected)
