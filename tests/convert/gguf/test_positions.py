"""Files of RoBERTa and its kin: rows of the position table that only padding has are left out, and come back as 0."""

import json

import numpy as np
import pytest
import transformers as hf

from flexit.convert.gguf.file import write_gguf
from flexit.convert.gguf.reading import as_checkpoint
from flexit.convert.gguf.writing import to_gguf
from flexit.convert.pretrained import from_pretrained
from flexit.convert.sources.gguf import open_gguf
from flexit.convert.sources.source import open_source
from tests.convert.families.comparing import TOLERANCE, module_of
from tests.convert.gguf.models import worst

SIZES = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20,
    "max_position_embeddings": 23, "type_vocab_size": 1, "pad_token_id": 2,
}  # fmt: skip


def written(tmp_path, kind):
    """An encoder of theirs whose states are averaged, and a file of it that no family was named for."""
    model = getattr(hf, f"{kind}Model")(getattr(hf, f"{kind}Config")(**SIZES), add_pooling_layer=False).eval()
    folder = tmp_path / "theirs"
    model.save_pretrained(folder)
    modules = [{"path": "", "type": "models.Transformer"}, {"path": "1_Pooling", "type": "models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    pretrained = from_pretrained(folder)
    to_gguf(pretrained.spec, pretrained.weights, tmp_path / "x.gguf", dtype="f32")
    return model, tmp_path / "x.gguf"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Roberta", "XLMRoberta", "Camembert"])
def test_kin_are_one_architecture(tmp_path, kind):
    model, file = written(tmp_path, kind)
    found = open_gguf(file)
    assert (found.metadata["general.architecture"], found.metadata["bert.context_length"]) == ("bert", 20)
    table = found.tensors["position_embd.weight"].numpy()
    assert np.array_equal(table, model.embeddings.position_embeddings.weight.detach().numpy()[3:])
    again = from_pretrained(file)
    assert again.family == "roberta"
    rows = again.weights["embed.positions.weight"].numpy()
    assert np.array_equal(rows, np.concatenate([np.zeros((3, 16), np.float32), table]))
    for padding in ("none", "left", "right"):
        assert worst(model, module_of(again), padding, ("mean_tokens", False)) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(("tokenizer", "family"), [("gpt2", "roberta"), ("t5", "roberta"), ("bert", "bert")])
def test_the_tokenizer_tells_them_from_bert(tmp_path, tokenizer, family):
    _, file = written(tmp_path, "Roberta")
    found = open_gguf(file)
    names = {"tokenizer.ggml.model": tokenizer, "tokenizer.ggml.padding_token_id": 2}
    metadata = {key: value for key, value in found.metadata.items() if key != "general.architecture"}
    write_gguf(tmp_path / "y.gguf", "bert", metadata={**metadata, **names}, tensors=found.tensors, dtype="f32")
    opened = open_source(tmp_path / "y.gguf")
    source, known = as_checkpoint(opened, opened.gguf, None)
    assert known.family == family
    assert source.config["max_position_embeddings"] == (23 if family == "roberta" else 20)
