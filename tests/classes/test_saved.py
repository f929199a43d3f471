"""Models by class, saved and loaded."""

from __future__ import annotations

import json

import pytest
import torch

import flexit
from flexit.callbacks import CheckpointCallback
from flexit.errors import FlexitError
from flexit.loss import LossCompute
from flexit.models import BaseModel, FlexiBERT, FlexiGPT, TransformerModel
from flexit.train import Batch, Trainer

SMALL = {"d_model": 16, "d_ff": 24, "n_heads": 2, "n_layers": 1, "max_seq_len": 24}
IDS = torch.tensor([[5, 6, 7]])


def test_it_comes_back(tmp_path):
    model = FlexiGPT(tgt_vocab=20, **SMALL).eval()
    assert model.save(tmp_path / "gpt") == tmp_path / "gpt"
    for cls in (FlexiGPT, BaseModel):
        again = cls.load(tmp_path / "gpt")
        assert type(again) is FlexiGPT or isinstance(again, FlexiGPT)
        assert again.config == model.config
        assert torch.equal(again(IDS), model(IDS))
        assert not again.training
    assert torch.equal(flexit.load_checkpoint(tmp_path / "gpt")(input_ids=IDS)["logits"], model(IDS))


def test_a_checkpoint_of_training_is_loaded(tmp_path):
    model = TransformerModel(src_vocab=20, tgt_vocab=20, **SMALL)
    Trainer(
        model, torch.optim.SGD(model.parameters(), lr=0.1), LossCompute(model.generator, torch.nn.CrossEntropyLoss()),
        [Batch(IDS, IDS)], callbacks=[CheckpointCallback(checkpoint_dir=tmp_path / "run")],
        config={"progress": False, "device": "cpu"},
    ).fit(epochs=2)  # fmt: skip
    again = TransformerModel.load(tmp_path / "run")
    assert torch.equal(again(IDS, IDS), model.eval()(IDS, IDS))


def spoil(folder, name):
    file = folder / name
    file.write_bytes(file.read_bytes()[:40])


def other_width(folder):
    file = folder / "model_config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "config": {**told["config"], "d_ff": 32}}))


@pytest.mark.parametrize(
    ("change", "cls", "code"),
    [
        (lambda folder: None, FlexiBERT, "FX2001"),
        (lambda folder: (folder / "model_config.json").unlink(), FlexiGPT, "FX1201"),
        (lambda folder: spoil(folder, "model_config.json"), FlexiGPT, "FX1201"),
        (lambda folder: spoil(folder, "model.safetensors"), FlexiGPT, "FX1201"),
        (other_width, FlexiGPT, "FX1202"),
    ],
)
def test_what_cannot_be_loaded(tmp_path, change, cls, code):
    FlexiGPT(tgt_vocab=20, **SMALL).save(tmp_path / "gpt")
    change(tmp_path / "gpt")
    with pytest.raises(FlexitError) as raised:
        cls.load(tmp_path / "gpt")
    assert raised.value.code == code


def test_nothing_is_replaced_unasked(tmp_path):
    model = FlexiGPT(tgt_vocab=20, **SMALL)
    model.save(tmp_path / "gpt")
    with pytest.raises(FlexitError) as raised:
        model.save(tmp_path / "gpt")
    assert raised.value.code == "FX1301"
    model.save(tmp_path / "gpt", force=True)
