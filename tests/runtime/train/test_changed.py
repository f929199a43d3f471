"""A trainer that resumes compares what it is with what the checkpoint was made by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from flexit.errors import CheckpointError, UserError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.train.config import Checkpoint, TrainingConfig
from flexit.runtime.train.schedules.cosine import Cosine
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.loss import CrossEntropy
from tests.runtime.train.plain import Small, batches, mean_loss, trainer


def with_optimizer(out: Path, optimizer: type[torch.optim.Optimizer], **settings: Any) -> Trainer:
    model = Small()
    config = TrainingConfig(progress=False, device="cpu", out=str(out))
    return Trainer(model, optimizer(model.parameters(), **settings), mean_loss, batches(6), config=config)


def state(run: Trainer) -> list[bytes]:
    return [value.detach().numpy().tobytes() for value in run.model.state_dict().values()]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"accumulate": 2}, ["FX1202 config.accumulate: the training config changed", "expected 1; found 2"]),
        ({"clip_norm": None}, ["FX1202 config.clip_norm", "expected 1.0; found nothing"]),
        ({"seed": 7}, ["FX1202 config.seed", "expected 0; found 7"]),
        (
            {"schedule": Cosine(warmup=1), "checkpoint": Checkpoint(every=9)},
            [
                "config.schedule.kind", "expected constant; found cosine", "config.schedule.final",
                "expected nothing; found 0.1", "config.schedule.warmup", "config.checkpoint.every",
                "expected 200; found 9",
            ],
        ),
    ],
)  # fmt: skip
def test_a_config_that_changed(tmp_path: Path, settings: dict[str, Any], said: list[str]):
    trainer(batches(6), out=tmp_path).fit(steps=2)
    run = trainer(batches(6), out=tmp_path, **settings)
    before = state(run)
    with pytest.raises(CheckpointError) as caught:
        run.resume()
    assert [text for text in said if text not in str(caught.value)] == []
    assert "go on regardless with resume(allow_changed=True)" in str(caught.value)
    assert (run.step, state(run)) == (0, before)
    assert run.resume(allow_changed=True) == []
    assert run.step == 2
    assert run.fit(steps=4).step == 4
    trainer(batches(6), out=tmp_path, **settings).resume()


def test_what_no_number_depends_on_may_change(tmp_path: Path):
    trainer(batches(6), out=tmp_path / "one").fit(steps=2)
    (tmp_path / "one").rename(tmp_path / "two")
    run = trainer(batches(6), out=tmp_path / "two", progress=True, device="auto")
    if run.device.type == "cpu":
        run.resume()
        assert run.step == 2


def test_a_loader_of_another_length(tmp_path: Path):
    trainer(batches(6), out=tmp_path).fit(steps=2)
    with pytest.raises(CheckpointError, match=r"number of batches .* changed .*\n.*expected 6; found 5"):
        trainer(batches(5), out=tmp_path).resume()


def test_a_loader_that_ends_before_the_place(tmp_path: Path):
    trainer((batch for batch in batches(6)), out=tmp_path).fit(steps=4)
    run = trainer((batch for batch in batches(3)), out=tmp_path)
    before, random = state(run), torch.get_rng_state()
    with pytest.raises(UserError, match="more than 4 batches, those that were seen; found fewer"):
        run.resume()
    assert (run.step, state(run)) == (0, before)
    assert torch.equal(torch.get_rng_state(), random)


def test_threads_that_changed(tmp_path: Path):
    trainer(batches(6), out=tmp_path).fit(steps=2)
    torch.set_num_threads(2)
    with pytest.raises(CheckpointError, match=r"number of CPU threads changed .*\n.*expected 1; found 2"):
        trainer(batches(6), out=tmp_path).resume()


def test_a_spec_that_changed_with_the_same_parameters(tmp_path: Path):
    def decoder(*sets: str) -> Trainer:
        model = to_torch(load_spec("tiny-llama", sets=sets))
        ids = torch.arange(24).reshape(2, 12)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        config = TrainingConfig(progress=False, out=str(tmp_path))
        return Trainer(model, optimizer, CrossEntropy(), [{"input_ids": ids, "labels": ids}] * 4, config=config)

    decoder().fit(steps=1)
    changed = decoder("blocks.decoder.layer.dropout=0.25")
    with pytest.raises(CheckpointError, match=r"FX1202 spec\.blocks\.decoder\.layer\.dropout: the") as caught:
        changed.resume()
    assert "found 0.25" in str(caught.value)
    decoder().resume()


def test_a_model_of_other_shapes_is_told_by_them(tmp_path: Path):
    trainer(batches(6), out=tmp_path).fit(steps=1)
    other = trainer(batches(6), out=tmp_path)
    other.model.get_submodule("layers")[3] = torch.nn.Linear(4, 6)  # pyright: ignore[reportIndexIssue]
    with pytest.raises(CheckpointError, match=r"layers\.3\.weight \[6, 4\]; found .*layers\.3\.weight \[5, 4\]"):
        other.resume(allow_changed=True)


def test_optimizer_settings_that_changed(tmp_path: Path):
    with_optimizer(tmp_path, torch.optim.AdamW, lr=0.1).fit(steps=2)
    run = with_optimizer(tmp_path, torch.optim.AdamW, lr=0.02, betas=(0.5, 0.999))
    with pytest.raises(CheckpointError) as caught:
        run.resume()
    assert "FX1202 optimizer.groups.0.lr: the optimizer changed" in str(caught.value)
    assert "expected 0.1; found 0.02" in str(caught.value)
    assert "expected [0.9, 0.999]; found [0.5, 0.999]" in str(caught.value)


def test_allowed_settings_hold_and_the_moments_stay(tmp_path: Path):
    first = with_optimizer(tmp_path, torch.optim.AdamW, lr=0.1)
    first.fit(steps=2)
    run = with_optimizer(tmp_path, torch.optim.AdamW, lr=0.02, betas=(0.5, 0.999))
    run.resume(allow_changed=True)
    (group,) = run.optimizer.param_groups
    assert group["betas"] == (0.5, 0.999)
    moments = [[slots["exp_avg"] for slots in each.optimizer.state.values()] for each in (first, run)]
    assert all(torch.equal(one, two) for one, two in zip(*moments, strict=True))
    run.fit(steps=3)
    assert group["lr"] == 0.02
    again = with_optimizer(tmp_path, torch.optim.AdamW, lr=0.02, betas=(0.5, 0.999))
    again.resume()
    assert again.step == 3


def test_another_optimizer_is_never_allowed(tmp_path: Path):
    with_optimizer(tmp_path, torch.optim.AdamW, lr=0.1).fit(steps=2)
    run = with_optimizer(tmp_path, torch.optim.SGD, lr=0.1)
    before = state(run)
    with pytest.raises(CheckpointError, match="another optimizer"):
        run.resume(allow_changed=True)
    assert (run.step, state(run)) == (0, before)


def test_a_checkpoint_that_a_kill_left_unnamed_is_named(tmp_path: Path):
    trainer(batches(6), out=tmp_path).fit(steps=2)
    (tmp_path / "LATEST").write_text("step-000001\n")
    trainer(batches(6), out=tmp_path).resume()
    assert (tmp_path / "LATEST").read_text() == "step-000002\n"
