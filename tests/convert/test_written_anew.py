"""What ``flexit convert`` carries beside the weights, and what it says of them."""

import json

import pytest
import torch
import transformers as hf

import flexit
from flexit.cli.app import run


@pytest.fixture
def theirs(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=20, max_position_embeddings=77, **sizes))
    model.save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def longest(folder):
    return hf.AutoConfig.from_pretrained(folder).max_position_embeddings


def test_the_longest_row_is_carried(theirs, tmp_path):
    assert run(["convert", str(theirs), "-o", str(tmp_path / "again")]) == 0
    assert longest(tmp_path / "again") == 77
    assert run(["import", str(theirs), "-o", str(tmp_path / "ours")]) == 0
    assert run(["convert", str(tmp_path / "ours"), "-o", str(tmp_path / "back")]) == 0
    assert longest(tmp_path / "back") == 77
    model = flexit.from_pretrained(theirs)
    assert model.context == 77
    flexit.to_pretrained(model.spec, model.weights, tmp_path / "by-hand", context=model.context)
    assert longest(tmp_path / "by-hand") == 77
    flexit.to_pretrained(model.spec, model.weights, tmp_path / "silent")
    assert longest(tmp_path / "silent") == hf.LlamaConfig().max_position_embeddings


def test_a_note_that_is_none(theirs, tmp_path):
    assert run(["import", str(theirs), "-o", str(tmp_path / "ours")]) == 0
    marker = tmp_path / "ours" / "import.json"
    for told in ("[]", "{", json.dumps({"context": "x"}), json.dumps({"context": True}), json.dumps({"context": 0})):
        marker.write_text(told)
        out = tmp_path / f"back-{len(told)}"
        assert run(["convert", str(tmp_path / "ours"), "-o", str(out), "--force"]) == 0
        assert longest(out) == hf.LlamaConfig().max_position_embeddings


def test_a_table_says_its_own_length(tmp_path):
    torch.manual_seed(0)
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 20, "n_positions": 12}
    hf.GPT2LMHeadModel(hf.GPT2Config(**sizes)).save_pretrained(tmp_path / "theirs")
    model = flexit.from_pretrained(tmp_path / "theirs")
    flexit.to_pretrained(model.spec, model.weights, tmp_path / "again", context=99)
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert (config["n_positions"], config.get("max_position_embeddings")) == (12, None)


@pytest.mark.parametrize("form", ["hf", "gguf"])
def test_weights_that_are_no_numbers_are_told(theirs, tmp_path, capsys, form):
    model = hf.AutoModelForCausalLM.from_pretrained(theirs)
    with torch.no_grad():
        model.model.norm.weight[1] = float("nan")
        model.model.embed_tokens.weight[2, 0] = float("inf")
    model.save_pretrained(theirs)
    form_of = ["--dtype", "f32", "--as", "llama"] if form == "gguf" else []
    assert run(["convert", str(theirs), "--to", form, "-o", str(tmp_path / "x.gguf"), *form_of]) == 0
    told = capsys.readouterr().err
    assert told.count("FX1871") == 2
    assert "decoder.final_norm.weight" in told
    assert "embed.tokens.weight" in told


def test_a_bundle_is_no_model_to_convert(tmp_path, capsys):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    assert run(["convert", str(tmp_path / "bundle"), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "found a bundle" in told
    assert "give what it was exported from" in told
