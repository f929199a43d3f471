"""``--as`` of the commands that take another library's checkpoint as it stands."""

import json

import pytest
import torch
import transformers as hf

from flexit.cli.app import run


@pytest.fixture
def unknown(tmp_path):
    """A Llama whose configuration calls it something else."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=20, **sizes)).save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_type": "lama", "architectures": ["Lama"]}))
    return tmp_path / "theirs"


@pytest.mark.parametrize("command", ["show", "export", "generate"])
def test_a_family_is_named(unknown, tmp_path, capsys, command):
    out = [str(tmp_path / "bundle")] if command == "export" else []
    assert run([command, str(unknown), *out]) == 2
    assert "FX1850" in capsys.readouterr().err
    status = run([command, str(unknown), *out, "--as", "llama"])
    told = capsys.readouterr()
    if command == "generate":  # it has no tokenizer, which is looked for when the model has been read
        assert status == 2
        assert "FX1850" not in told.err
        assert "tokenizer" in told.err
    else:
        assert (status, told.err.count("FX")) == (0, 0)
    assert run([command, str(unknown), *out, "--as", "no-such"]) == 2


@pytest.mark.parametrize("command", ["show", "export"])
def test_what_is_ours_says_what_it_is(tmp_path, capsys, command):
    out = [str(tmp_path / "bundle")] if command == "export" else []
    assert run([command, "tiny-llama", *out, "--as", "llama"]) == 2
    assert "FX2004 as" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
