"""Runs with branches of low rank: checkpoints that hold the branches alone, and everything that reads them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import flexit
from flexit.cli.app import run
from flexit.errors import CheckpointError, RunConfigError, UserError
from flexit.ir.compile import compile_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.adapters.modules import add_lora
from flexit.runtime.opening import weights_at
from flexit.runtime.saved import read_spec, read_weights
from flexit.runtime.train.failures.replay import replay
from flexit.runtime.train.resources.memory import training_memory
from flexit.runtime.train.run import make_plan, train
from flexit.runtime.train.update.loss import CrossEntropy
from tests.runtime.transfer.models import checkpoint, ids, small

RUN = """
flexit: 1
model: base
lora: {lora}
task: causal_lm
data: {{train: {{kind: text, files: [text.txt]}}, seq_len: 12, tokenizer: {{kind: characters, separator: "<end>"}}}}
batch: {{size: 8}}
optimizer: {{kind: adamw, lr: 1e-2, weight_decay: 0.5}}
steps: 8
checkpoint: {{every: 4}}
threads: 1
device: cpu
{more}
out: run
"""
FOUR = "{rank: 2, targets: [{match: '*.attention.*'}]}"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    (tmp_path / "text.txt").write_text("the cat sat on the mat and the dog sat on the log. " * 40)
    checkpoint(tmp_path / "base", small())

    def written(lora: str = FOUR, more: str = "") -> Path:
        (tmp_path / "run.yaml").write_text(RUN.format(lora=lora, more=more))
        return tmp_path / "run.yaml"

    return written


def logits_at(folder: Path) -> Any:
    module = to_torch(read_spec(folder), read_weights(folder)).eval()
    with torch.no_grad():
        return module(input_ids=torch.as_tensor(ids()))["logits"]


def test_a_checkpoint_has_the_branches_alone(write: Callable[..., Path], tmp_path: Path):
    result = train(write(more="ema: {decay: 0.9}"), progress=False)
    folder = result.checkpoint
    assert folder is not None
    assert not (folder / "model.safetensors").exists()
    base, own = load_file(tmp_path / "base" / "model.safetensors"), load_file(folder / "adapter.safetensors")
    assert len(own) == 16 and all(".lora_" in name and value.any() for name, value in own.items())
    merged = read_weights(folder)
    assert merged.keys() == base.keys()
    adapted = {name for name in base if not torch.equal(base[name], merged[name])}
    assert adapted == {name for name in base if ".attention." in name and name.endswith("proj.weight")}
    state = load_file(folder / "training" / "optimizer.safetensors")
    assert {name.partition("/")[2] for name in state} == {*own}
    assert not torch.equal(logits_at(folder), logits_at(tmp_path / "base"))
    assert read_weights(folder / "ema").keys() == base.keys()
    lazily = weights_at(str(tmp_path / "run"))[1]
    assert all(torch.equal(lazily[name].torch(), value) for name, value in merged.items())


def test_it_goes_on_to_the_same_bits(write: Callable[..., Path], tmp_path: Path):
    lora = "{rank: 2, dropout: 0.2, trained: [{match: decoder.final_norm.*}]}"
    train(write(lora), progress=False)
    last = tmp_path / "run" / "checkpoints" / "step-000008"
    whole = load_file(last / "adapter.safetensors")
    shutil.rmtree(last)
    assert train(write(lora), progress=False).step == 8
    again = load_file(last / "adapter.safetensors")
    assert whole.keys() == again.keys() and all(torch.equal(whole[name], again[name]) for name in whole)
    assert "decoder.final_norm.weight" in whole


def test_full_checkpoints_need_nothing_else(write: Callable[..., Path], tmp_path: Path):
    result = train(write(FOUR.replace("rank: 2", "rank: 2, full: true")), progress=False)
    assert result.checkpoint is not None
    before = logits_at(result.checkpoint)
    shutil.rmtree(tmp_path / "base")
    assert torch.equal(logits_at(result.checkpoint), before)


def test_other_weights_are_refused(write: Callable[..., Path], tmp_path: Path):
    result = train(write(), progress=False)
    folder = result.checkpoint
    assert folder is not None
    before = logits_at(folder)
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"FX2211.*not there"):
        read_weights(folder)
    out = tmp_path / "merged"
    assert run(["merge", str(folder), "--base", str(tmp_path / "elsewhere"), "-o", str(out)]) == 0
    assert torch.equal(logits_at(out), before)
    checkpoint(tmp_path / "base", small(), seed=9)
    with pytest.raises(CheckpointError, match="other weights in"):
        read_weights(folder)
    (tmp_path / "run.yaml").write_text((tmp_path / "run.yaml").read_text().replace("steps: 8", "steps: 12"))
    with pytest.raises(CheckpointError, match="FX2211"):
        train(tmp_path / "run.yaml", allow_changed=True, progress=False)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"base": 3}'],
)  # fmt: skip
def test_a_damaged_note_is_refused(write: Callable[..., Path], content: str):
    folder = train(write(), progress=False).checkpoint
    assert folder is not None
    (folder / "adapter.json").write_text(content)
    with pytest.raises(CheckpointError, match="FX1201"):
        read_weights(folder)


def test_a_branch_of_another_shape_is_refused(write: Callable[..., Path]):
    folder = train(write(), progress=False).checkpoint
    assert folder is not None
    own = load_file(folder / "adapter.safetensors")
    name = next(iter(own))
    save_file(own | {name: own[name][:, :-1].contiguous()}, folder / "adapter.safetensors")
    with pytest.raises(CheckpointError, match=r"FX1201.*do not fit"):
        read_weights(folder)


def test_the_predicted_memory_is_that_of_the_branches(write: Callable[..., Path]):
    plan = make_plan(write())
    plain = compile_spec(plan.model.spec)
    learned = sum(param.size for param in plan.model.program.params() if param.trained)
    assert learned == 8 * 2 * (16 + 16)
    saved = training_memory(plain, plan.config) - training_memory(plan.model.program, plan.config)
    assert saved > 0


@pytest.mark.parametrize(
    ("lora", "more", "code", "text"),
    [
        (FOUR, "freeze: [{role: embedding}]", "FX1525", "freeze: all that has no branch is frozen already"),
        ("{targets: [{match: '*.atention.*'}]}", "", "FX2210", "lora.targets[0]"),
        ("{rank: 2, alpha: 0}", "", "FX0206", "lora.alpha"),
    ],
)
def test_what_cannot_be_meant_is_told_at_its_place(
    write: Callable[..., Path], lora: str, more: str, code: str, text: str
):
    with pytest.raises(RunConfigError) as caught:
        make_plan(write(lora, more))
    assert [problem.code for problem in caught.value.problems] == [code]
    assert text in str(caught.value) and "run.yaml:" in str(caught.value)


def test_weights_that_are_drawn_have_no_branches(write: Callable[..., Path], tmp_path: Path):
    config = write()
    config.write_text(config.read_text().replace("model: base", "model: base/spec.json"))
    with pytest.raises(RunConfigError, match="FX1525"):
        make_plan(config)


def test_a_trainer_in_python_keeps_the_weights_beside_the_branches(tmp_path: Path):
    model = add_lora(to_torch(small(), seed=0), rank=2)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    given = torch.as_tensor(ids())
    batches = [{"input_ids": given, "labels": given}]
    trainer = flexit.Trainer(
        model, torch.optim.SGD(learning, lr=0.5), CrossEntropy(), batches,
        config={"progress": False, "out": str(tmp_path / "run"), "device": "cpu"},
    )  # fmt: skip
    folder = trainer.fit(steps=3).checkpoint
    assert folder is not None and (folder / "model.safetensors").exists()
    with torch.no_grad():
        wanted = model.eval()(input_ids=given)["logits"]
    assert torch.allclose(logits_at(folder), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    plain = to_torch(small(), seed=0)
    base = load_file(folder / "model.safetensors")
    assert all(torch.equal(base[name], parameter) for name, parameter in plain.named_parameters())


def test_a_failure_is_run_again_with_its_branches(tmp_path: Path):
    model = add_lora(to_torch(small(), seed=0), rank=2)
    path = "decoder.layers.1.attention.v_proj.lora_a.weight"
    with torch.no_grad():
        model.get_parameter(path).fill_(math.nan)
    given = torch.as_tensor(ids())
    trainer = flexit.Trainer(
        model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5), CrossEntropy(),
        [{"input_ids": given, "labels": given}],
        config={"progress": False, "out": str(tmp_path / "run"), "device": "cpu"},
    )  # fmt: skip
    with pytest.raises(UserError, match="FX1701"):
        trainer.fit(steps=3)
    again = replay(tmp_path / "run")
    assert again.first is not None and path in str(again.first)


@pytest.mark.ort
@pytest.mark.slow
def test_it_is_exported_with_evidence_and_converted(write: Callable[..., Path], tmp_path: Path):
    folder = train(write(), progress=False).checkpoint
    assert folder is not None
    wanted = logits_at(folder)
    bundle = flexit.export(folder, tmp_path / "bundle")
    assert bundle.manifest["evidence"]["rows"]
    found = flexit.open_bundle(tmp_path / "bundle").run({"input_ids": ids()})["logits"]
    assert torch.allclose(torch.as_tensor(found), wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))
    assert run(["merge", str(tmp_path / "run"), "-o", str(tmp_path / "merged")]) == 0
    assert torch.equal(logits_at(tmp_path / "merged"), wanted)
    assert json.loads((tmp_path / "merged" / "merge.json").read_text())["from"] == str(folder)
    assert run(["merge", str(tmp_path / "merged"), "-o", str(tmp_path / "twice")]) == 2
