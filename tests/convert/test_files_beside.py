"""What goes with a checkpoint: names of classes, settings of generation, weights that are given to be written."""

import json
from random import Random

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

import flexit
from flexit.cli.app import run
from flexit.errors import SourceError, UserError
from tests.convert.families.drawn.llama import any_llama


@pytest.fixture
def classifier(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=20, max_position_embeddings=12, num_labels=3, **sizes)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


@pytest.fixture
def decoder(tmp_path):
    torch.manual_seed(0)
    any_llama(Random(3), "causal").save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def name_classes(folder, labels):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": labels}))


@pytest.mark.parametrize(
    "labels",
    [
        {"a": "x", "b": "y", "c": "z"}, {"0": "x", "1": "y", "3": "z"}, {"0": "x", "00": "y", "1": "z"},
        {"0": "x", "1": {"a": 1}, "2": "z"},
    ],
)  # fmt: skip
def test_names_of_classes_that_are_none(classifier, tmp_path, capsys, labels):
    name_classes(classifier, labels)
    assert run(["import", str(classifier), "-o", str(tmp_path / "ours")]) == 2
    assert "FX1855 id2label" in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()


def test_names_of_classes_are_in_the_order_of_their_numbers(classifier):
    name_classes(classifier, {"2": "c", "0": "a", "1": "b"})
    assert json.loads(flexit.from_pretrained(classifier).files["labels.json"]) == ["a", "b", "c"]


def test_settings_of_generation_are_read_like_every_file(decoder, tmp_path):
    settings = decoder / "generation_config.json"
    settings.write_bytes(b'{"x": "' + b"x" * 2**24 + b'"}')
    with pytest.raises(SourceError, match="FX1804"):
        flexit.from_pretrained(decoder)
    settings.unlink()
    (tmp_path / "other.json").write_text("{}")
    settings.symlink_to(tmp_path / "other.json")
    with pytest.raises(SourceError, match="FX1805"):
        flexit.from_pretrained(decoder)


def test_weights_that_are_not_those_of_the_spec_are_not_written(decoder, tmp_path):
    model = flexit.from_pretrained(decoder)
    first, *others = model.weights
    wrong = {
        "is missing": {path: model.weights[path] for path in others},
        "is no parameter": {**model.weights, "more": np.ones(1, np.float32)},
        "another shape": {**model.weights, first: np.ones((1, 1), np.float32)},
        "number format": {**model.weights, first: np.ones(model.weights[first].shape, np.complex64)},
    }
    for said, weights in wrong.items():
        with pytest.raises(UserError, match=said) as told:
            flexit.to_pretrained(model.spec, weights, tmp_path / "back")
        assert told.value.code == "FX2002"
        assert not (tmp_path / "back").exists()


def test_a_message_names_the_model_and_no_temporary_folder(decoder, capsys):
    assert run(["generate", str(decoder), "-p", "words"]) == 2
    printed = capsys.readouterr().err
    assert "FX1106 theirs: theirs has no tokenizer" in printed
    assert "flexit-files" not in printed
