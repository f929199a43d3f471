"""Runs that begin with the weights of another model, ours or another library's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flexit.errors import ResourceError, RunConfigError
from flexit.lower.torch.module import to_torch
from flexit.runtime.train.resources.disk import checkpoint_bytes
from flexit.runtime.train.run import make_plan, prepare, train
from flexit.runtime.transfer.transfer import transfer
from tests.runtime.transfer.models import checkpoint, ids, small

CLASSIFIER = small(vocab=40, head="{kind: sequence_classifier, n_labels: 2, pool: last}")
RUN = """
flexit: 1
model: new.yaml
weights_from: {weights}
task: sequence_classification
data: {{train: {{kind: jsonl, files: [data.jsonl]}}, seq_len: 16, tokenizer: {{kind: characters, separator: "<end>"}}}}
batch: {{size: 8}}
optimizer: {{kind: adamw, lr: 5e-3}}
steps: {steps}
checkpoint: {{every: 4}}
threads: 1
device: cpu
{more}
out: run
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A run config that tells texts with more a than b from the others."""
    (tmp_path / "new.yaml").write_text(CLASSIFIER.to_yaml())
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(["a", "b", "c"], 11)) for _ in range(64)]
    rows = [{"text": text, "label": str(int(text.count("a") > text.count("b")))} for text in texts]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def written(weights: str = "{path: old}", steps: int = 8, more: str = "") -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(RUN.format(weights=weights, steps=steps, more=more))
        return path

    return written


def test_a_classifier_is_trained_from_a_language_model(
    write: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    old = checkpoint(tmp_path / "old", small())
    result = train(write(steps=8, more="freeze: [{match: 'embed.*'}, {match: 'decoder.*'}]"))
    told = capsys.readouterr().err
    assert "36 kept, 2 made" in told and "made head.out.weight 2 x 16" in told
    assert result.checkpoint is not None
    last = load_file(result.checkpoint / "model.safetensors")
    begun = load_file(tmp_path / "run" / "start" / "model.safetensors")
    for name, value in old.named_parameters():
        assert torch.equal(last[name], value) and torch.equal(begun[name], value)
    drawn = to_torch(CLASSIFIER, seed=0).get_parameter("head.out.weight")
    assert torch.equal(begun["head.out.weight"], drawn)
    assert not torch.equal(last["head.out.weight"], drawn)


def test_it_goes_on_without_the_model_that_it_began_with(write: Callable[..., Path], tmp_path: Path):
    checkpoint(tmp_path / "old", small())
    train(write(steps=8), progress=False)
    whole = load_file(tmp_path / "run" / "checkpoints" / "step-000008" / "model.safetensors")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-000008")
    shutil.rmtree(tmp_path / "old")
    result = train(write(steps=8), progress=False)
    assert result.step == 8
    again = load_file(tmp_path / "run" / "checkpoints" / "step-000008" / "model.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize(
    ("weights", "code", "text"),
    [
        ("{path: old, new: [{match: nothing}]}", "FX2205", "means no parameter"),
        ("{path: old, width: narrow}", "FX0207", "narrow"),
        ("{path: old}", "FX2201", "weights_from.new: [{match: 'decoder.layers.0.feed_forward.up_proj.weight'}]"),
    ],
)
def test_what_cannot_be_carried_over_is_told_at_its_place(
    write: Callable[..., Path], tmp_path: Path, weights: str, code: str, text: str
):
    checkpoint(tmp_path / "old", small(d_ff=24 if code != "FX2201" else 32))
    with pytest.raises(RunConfigError) as caught:
        make_plan(write(weights))
    assert {problem.code for problem in caught.value.problems} == {code}
    assert text in str(caught.value) and "run.yaml:4:" in str(caught.value)


def test_a_checkpoint_has_weights_already(write: Callable[..., Path], tmp_path: Path):
    checkpoint(tmp_path / "old", small())
    checkpoint(tmp_path / "tuned", CLASSIFIER)
    config = write()
    config.write_text(config.read_text().replace("model: new.yaml", "model: tuned"))
    with pytest.raises(RunConfigError, match="FX1524"):
        make_plan(config)


@pytest.mark.filterwarnings("ignore")
def test_a_gpt2_of_hugging_face_grows_and_computes_the_same(tmp_path: Path):
    transformers: Any = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=40, n_positions=20, n_embd=16, n_layer=2, n_head=4, n_inner=24, bos_token_id=0, eos_token_id=0
    )
    theirs = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path / "gpt2")
    gelu = small(layers=5, d_ff=40).to_yaml().replace("kind: mlp,", "kind: mlp, activation: gelu_tanh,")
    (tmp_path / "deeper.yaml").write_text(gelu)
    result = transfer(tmp_path / "gpt2", tmp_path / "deeper.yaml", same=True)
    result.save(tmp_path / "deeper")
    given = torch.as_tensor(ids())
    module = to_torch(result.spec, load_file(tmp_path / "deeper" / "model.safetensors")).eval()
    with torch.no_grad():
        wanted = theirs(given).logits
        found = module(input_ids=given)["logits"]
    assert torch.allclose(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_first_weights_are_among_what_the_disk_must_hold(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checkpoint(tmp_path / "old", small())
    config = write(steps=4)
    plan = make_plan(config)
    of_checkpoint = checkpoint_bytes(plan.model.program, plan.config)
    prepare(plan)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=of_checkpoint))
    with pytest.raises(ResourceError, match=r"FX1710 out: (.|\n)*one more checkpoint of .*, .* of first weights"):
        train(config, progress=False)
    weights = 4 * sum(param.size for param in plan.model.program.params())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=of_checkpoint + weights))
    assert train(config, progress=False).step == 4
    written = (tmp_path / "run" / "start" / "model.safetensors").stat().st_size
    assert weights <= written <= weights + 10_000
