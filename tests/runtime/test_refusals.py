"""What cannot mean anything is refused before anything is written: weights, folders, numbers, texts."""

import numpy as np
import pytest
import torch

from flexit.errors import CheckpointError, TaskError, UserError
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import load_spec, parse_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.export import export
from flexit.runtime.generation.generate import generate
from flexit.runtime.generation.sampling import Sampling
from flexit.runtime.sessions.torch_session import TorchSession
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.saving.checkpoint import checkpoints
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.loss import CrossEntropy


def trainer(out=None, accumulate=1, batches=4):
    model = to_torch(load_spec("tiny-llama"))
    ids = torch.arange(24).reshape(2, 12)
    batch = {"input_ids": ids, "labels": ids}
    config = TrainingConfig(out=None if out is None else str(out), progress=False, accumulate=accumulate)
    return Trainer(model, torch.optim.SGD(model.parameters(), 1e-3), CrossEntropy(), [batch] * batches, config=config)


def test_weights_that_are_no_numbers(tmp_path):
    module = to_torch(load_spec("tiny-llama"))
    with torch.no_grad():
        module.get_parameter("decoder.final_norm.weight")[3] = float("nan")
    with pytest.raises(UserError, match=r"FX2005 decoder\.final_norm\.weight") as caught:
        export(module, tmp_path / "bundle")
    assert caught.value.code == "FX2005"
    assert not (tmp_path / "bundle").exists()


@pytest.mark.ort
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_are_exported_as_fp32(dtype, tmp_path):
    module = to_torch(load_spec("tiny-llama"), dtype=dtype)
    assert export(module, tmp_path / "bundle").manifest["evidence"]["error"] < 1e-5
    assert {value.dtype for value in module.parameters()} == {dtype}


def test_a_checkpoint_that_was_edited(tmp_path):
    trainer(tmp_path / "run").fit(steps=1)
    (folder,) = checkpoints(tmp_path / "run" / "checkpoints")
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"model\.safetensors has changed"):
        export(folder, tmp_path / "bundle")


@pytest.mark.parametrize("kind", ["texts", "file"])
def test_a_folder_of_somebody_else_is_no_run(kind, tmp_path):
    out = tmp_path / "mine"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="which is neither") as caught:
        trainer(out).fit(steps=1)
    assert caught.value.code == "FX1302"
    assert out.read_text() == "mine" if kind == "file" else [path.name for path in out.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("call", [{"steps": 0}, {"steps": -1}, {"steps": 1.5}, {"epochs": 0}])
def test_numbers_of_steps(call):
    with pytest.raises(UserError) as caught:
        trainer().fit(**call)
    assert caught.value.code == "FX1704"


def test_a_loader_shorter_than_an_update():
    with pytest.raises(UserError, match="a loader of 5 or more batches"):
        trainer(accumulate=5).fit(epochs=2)


@pytest.mark.parametrize("settings", [{"temperature": 1e-320}, {"temperature": -1.0}, {"seed": -1}, {"top_k": 0}])
def test_sampling(settings):
    with pytest.raises(TaskError) as caught:
        Sampling(**settings)
    assert caught.value.code == "FX2003"


def test_the_coldest_temperature_takes_the_best():
    scores = np.array([[0.0, 30.0, 29.9]])
    assert Sampling(temperature=1e-6).choose(scores, step=0).tolist() == [1]


def test_text_that_is_not_utf_8():
    tokenizer = Tokenizer.train(["some text to learn from"], vocab_size=260)
    with pytest.raises(TaskError, match="the text is not UTF-8"):
        tokenizer.encode("a\udcff")


def test_without_logits_nothing_is_decoded_and_it_says_why():
    text = """
flexit: 1
name: bare
blocks:
  words: {kind: embedding, vocab_size: 11, d_model: 8, position: sinusoidal}
  mixed: {kind: residual, norm: rms_norm, norm_placement: pre, body: {kind: multi_head, n_heads: 2, mask: causal}}
"""
    program = compile_spec(parse_spec(text))
    assert program.decoded is None
    assert program.why_not_decoded == "no output is called logits"
    named = compile_spec(parse_spec(text + "outputs: {logits: mixed}\n"))
    assert named.decoded is not None


def test_a_mask_covers_cached_and_new_tokens():
    module = to_torch(load_spec("tiny-llama")).eval()
    ids = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        first = module(ids[:, :3], cache=module.empty_cache(1))
        whole = module(ids)["logits"][:, 3]
        for mask in (None, torch.ones(1, 4, dtype=torch.int64)):
            step = module(ids[:, 3:], attention_mask=mask, cache=first["cache"])["logits"][:, 0]
            assert torch.allclose(step, whole, atol=1e-5)
        with pytest.raises(UserError, match=r"expected \[1, 4\]"):
            module(ids[:, 3:], attention_mask=torch.ones(1, 1, dtype=torch.int64), cache=first["cache"])
        with pytest.raises(UserError, match=r"expected \[1, 4\]"):
            module(ids, attention_mask=torch.ones(1, 3, dtype=torch.int64))
        with pytest.raises(UserError, match="input_ids twice"):
            module(ids, input_ids=ids)


def test_the_seed_of_a_proof_is_no_negative_number(tmp_path):
    with pytest.raises(UserError, match="expected an integer from 0 on; found -1"):
        export(to_torch(load_spec("tiny-llama")), tmp_path / "bundle", seed=-1)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("name", ["input_ids", "attention_mask"])
def test_prompts_are_given_once(name):
    session = TorchSession(to_torch(load_spec("tiny-llama")))
    with pytest.raises(TaskError, match=f"FX2003 others: {name} is what the prompts say"):
        generate(session, [[1, 2]], max_new_tokens=2, others={name: [[1, 1, 1]]})
