"""The trainer as a library: any module and loader, callbacks, exact resume in process, signals, arguments."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import flexit
from flexit.cli.opening import checkpoint_at
from flexit.errors import CheckpointError, UserError
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.config import Checkpoint, Evaluate, TrainingConfig
from flexit.runtime.train.optimisation.optim import make_optimizer
from flexit.runtime.train.result import HeldOut
from flexit.runtime.train.saving.checkpoint import checkpoints, read_state
from flexit.runtime.train.schedules.linear import Linear
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.loss import CrossEntropy
from flexit.runtime.train.update.step import Step
from tests.runtime.train.plain import batches, joined, trainer

TOKENS = (np.arange(2000) * 7 % 300).astype(np.uint16)


def make(spec: Spec, out: Path | None, *callbacks: Callback, **settings: Any) -> Trainer:
    """A trainer of the small spec, with dropout, on random tokens."""
    model = to_torch(spec)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    rows = joined(TOKENS, seed=1)
    evaluate = settings.get("evaluate")
    held_out = None if evaluate is None else joined(TOKENS[:200])
    settings = {"progress": False, "schedule": Linear(), "checkpoint": Checkpoint(every=5)} | settings
    config = TrainingConfig(out=None if out is None else str(out), **settings)
    return Trainer(model, optimizer, CrossEntropy(), rows, held_out, callbacks, config)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a checkpoint, and the metrics of its run."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return files | {"metrics": (folder.parent.parent / "metrics.jsonl").read_bytes()}


def test_the_public_name():
    assert flexit.Trainer is Trainer
    assert flexit.TrainingConfig is TrainingConfig


def test_it_learns(spec: Spec):
    trainer = make(spec, None)
    before = float(CrossEntropy()(trainer.model(torch.from_numpy(TOKENS[None, :50].astype(np.int64))), {
        "labels": torch.from_numpy(TOKENS[None, 1:51].astype(np.int64))})["loss"].detach())  # fmt: skip
    result = trainer.fit(steps=60)
    assert (result.step, result.tokens, result.stopped_by, result.checkpoint) == (60, 60 * 40, None, None)
    assert result.loss is not None
    assert result.loss < before - 0.5


def test_a_plain_module_and_a_plain_loader():
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    data = [{"input": torch.randn(4), "target": torch.zeros(1)} for _ in range(12)]
    loader = torch.utils.data.DataLoader(data, batch_size=4)  # pyright: ignore[reportArgumentType]

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, input, target):
            return self.inner(input) - target

    config = TrainingConfig(progress=False)
    trainer = Trainer(
        Wrapped(),
        torch.optim.SGD(model.parameters(), lr=0.1),
        lambda outputs, batch: outputs.square().mean(),
        loader,
        config=config,
    )
    assert trainer.fit(epochs=5).step == 15
    assert float(model.weight.detach().norm()) < 0.5


@pytest.mark.parametrize("stop", [3, 5, 8])
def test_going_on_gives_the_same_bits(spec: Spec, tmp_path: Path, stop: int):
    make(spec, tmp_path / "whole", evaluate=Evaluate(every=4), accumulate=3).fit(steps=12)

    class Stop(Callback):
        def after_step(self, trainer: Trainer, step: Step) -> None:
            if step.number == stop:
                os.kill(os.getpid(), signal.SIGTERM)

    first = make(spec, tmp_path / "parts", Stop(), evaluate=Evaluate(every=4), accumulate=3)
    assert first.fit(steps=12).stopped_by == "SIGTERM"
    torch.manual_seed(12345)
    second = make(spec, tmp_path / "parts", evaluate=Evaluate(every=4), accumulate=3)
    assert second.resume() == []
    assert second.step == stop
    assert second.fit(steps=12).step == 12
    whole, parts = (contents(tmp_path / name / "checkpoints" / "step-000012") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert [name for name in whole if whole[name] != parts[name]] == []


def test_a_user_callback_keeps_its_state(spec: Spec, tmp_path: Path):
    class Count(Callback):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def start(self, trainer: Trainer) -> None:
            self.seen.append("start")

        def after_step(self, trainer: Trainer, step: Step) -> None:
            self.seen.append(f"{step.number}: {step.tokens}")

        def after_evaluation(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
            self.seen.append(f"evaluated {sorted(metrics)}")

        def end(self, trainer: Trainer) -> None:
            self.seen.append("end")

        def close(self, trainer: Trainer) -> None:
            self.seen.append("close")

        def state_dict(self) -> dict[str, Any]:
            return {"seen": self.seen}

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            self.seen = list(state["seen"])

    make(spec, tmp_path / "run", Count(), evaluate=Evaluate(every=2)).fit(steps=2)
    again = Count()
    trainer = make(spec, tmp_path / "run", again, evaluate=Evaluate(every=2))
    trainer.resume()
    trainer.fit(steps=3)
    assert again.seen == [
        "start", "1: 40", "evaluated ['validation_loss']", "2: 40", "end", "start", "evaluated ['validation_loss']",
        "3: 40", "end", "close",
    ]  # fmt: skip


def test_evaluation_is_the_mean_over_all_tokens_without_dropout(spec: Spec):
    trainer = make(spec, None, evaluate=Evaluate(every=1))
    ids = torch.from_numpy(TOKENS[:200].astype(np.int64))
    rows = torch.stack([ids[i : i + 11] for i in range(0, 189, 10)])
    model = to_torch(spec).eval()
    expected = CrossEntropy()(model(rows[:, :-1]), {"labels": rows[:, 1:]})["loss"].detach()
    assert trainer.evaluate()["validation_loss"] == pytest.approx(float(expected), rel=1e-6)
    assert trainer.model.training


def test_an_evaluation_between_runs_writes_nothing(spec: Spec, tmp_path: Path):
    trainer = make(spec, tmp_path / "run", evaluate=Evaluate(every=2))
    before = trainer.evaluate()
    trainer.fit(steps=2)
    lines = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    after = trainer.evaluate()
    assert before["validation_loss"] != after["validation_loss"]
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == lines


def test_what_is_kept(spec: Spec, tmp_path: Path):
    make(spec, tmp_path / "run", checkpoint=Checkpoint(every=2, keep_last=2)).fit(steps=9)
    names = [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")]
    assert names == ["step-000008", "step-000009"]
    assert (tmp_path / "run" / "LATEST").read_text() == "step-000009\n"
    assert sorted(os.listdir(tmp_path / "run" / "checkpoints")) == names


def test_the_best_are_kept(spec: Spec, tmp_path: Path):
    trainer = make(
        spec, tmp_path / "run", checkpoint=Checkpoint(every=2, keep_last=1, keep_best=1), evaluate=Evaluate(every=2)
    )
    losses = iter([3.0, 1.0, 2.0, 4.0])

    def pretend(*, max_batches: int | None = None) -> dict[str, float]:
        loss = next(losses)
        trainer._held_out = HeldOut(trainer.step, loss, loss)  # pyright: ignore[reportPrivateUsage]
        return {}

    trainer.evaluate = pretend
    trainer.fit(steps=8)
    kept = checkpoints(tmp_path / "run" / "checkpoints")
    assert [(path.name, read_state(path)["validation_loss"]) for path in kept] == [
        ("step-000004", 1.0),
        ("step-000008", 4.0),
    ]


def test_a_damaged_checkpoint_is_passed_over(spec: Spec, tmp_path: Path):
    keep = Checkpoint(every=3, keep_last=3)
    make(spec, tmp_path / "run", checkpoint=keep).fit(steps=6)
    newest = tmp_path / "run" / "checkpoints" / "step-000006"
    data = bytearray((newest / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (newest / "model.safetensors").write_bytes(data)
    trainer = make(spec, tmp_path / "run", checkpoint=keep)
    passed_over = trainer.resume()
    assert trainer.step == 3
    assert "model.safetensors has changed" in str(passed_over[0])
    assert (tmp_path / "run" / "checkpoints" / "step-000006.damaged").is_dir()
    assert trainer.fit(steps=6).step == 6


def test_a_command_tells_which_checkpoint_it_takes_in_place_of_a_damaged_one(
    spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    make(spec, tmp_path / "run", checkpoint=Checkpoint(every=1, keep_last=2)).fit(steps=2)
    (tmp_path / "run" / "checkpoints" / "step-000002" / "model.safetensors").write_bytes(b"")
    found = checkpoint_at(str(tmp_path / "run"))
    assert found is not None and found.name == "step-000001"
    assert f"step-000002 is damaged; {found} is taken" in capsys.readouterr().err
    assert sorted(each.name for each in found.parent.iterdir()) == ["step-000001", "step-000002"], "it only reads"


def test_all_damaged(spec: Spec, tmp_path: Path):
    make(spec, tmp_path / "run").fit(steps=2)
    (tmp_path / "run" / "checkpoints" / "step-000002" / "training" / "state.json").write_text("{")
    for _ in range(2):  # the second start does not begin anew either
        with pytest.raises(CheckpointError, match="no whole checkpoint") as caught:
            make(spec, tmp_path / "run").resume()
        assert caught.value.code == "FX1201" and "begin anew in another out" in str(caught.value)


def test_a_checkpoint_of_another_model_or_optimizer(spec: Spec, tmp_path: Path):
    make(spec, tmp_path / "run").fit(steps=1)
    rows = joined(TOKENS, seed=1)
    config = TrainingConfig(out=str(tmp_path / "run"), progress=False)
    other = torch.nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="another model") as caught:
        Trainer(other, torch.optim.AdamW(other.parameters()), CrossEntropy(), rows, config=config).resume()
    assert caught.value.code == "FX1202"
    model = to_torch(spec)
    with pytest.raises(CheckpointError, match="another optimizer"):
        Trainer(model, torch.optim.SGD(model.parameters()), CrossEntropy(), rows, config=config).resume()


def test_a_folder_with_a_run_is_not_started_anew(spec: Spec, tmp_path: Path):
    make(spec, tmp_path / "run").fit(steps=1)
    with pytest.raises(UserError, match=r"resume\(\); found a run in ") as caught:
        make(spec, tmp_path / "run").fit(steps=1)
    assert caught.value.code == "FX1302"


def test_fit_twice_goes_on(spec: Spec, tmp_path: Path):
    trainer = make(spec, tmp_path / "run")
    trainer.fit(steps=3)
    assert trainer.fit(steps=5).step == 5
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 5]


def test_metrics_are_means_over_their_steps(spec: Spec, tmp_path: Path):
    class Keep(Callback):
        def __init__(self) -> None:
            self.losses: list[float] = []

        def after_step(self, trainer: Trainer, step: Step) -> None:
            self.losses.append(step.loss)

    keep = Keep()
    make(spec, tmp_path / "run", keep).fit(steps=10)
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert line["loss"] == pytest.approx(np.mean(keep.losses))
    assert line.keys() == {"step", "loss", "lr", "grad_norm", "tokens"}


def test_a_loss_that_is_not_finite_stops_the_run(spec: Spec, tmp_path: Path):
    class Spoil(Callback):
        def after_step(self, trainer: Trainer, step: Step) -> None:
            if step.number == 7:
                with torch.no_grad():
                    next(trainer.model.parameters()).fill_(float("inf"))

    with pytest.raises(UserError, match=r"step 8 .*not finite") as caught:
        make(spec, tmp_path / "run", Spoil()).fit(steps=12)
    assert caught.value.code == "FX1701"
    assert [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")] == ["step-000005"]


@pytest.mark.parametrize(
    ("call", "code", "match"),
    [
        ({}, "FX1704", "found neither"),
        ({"steps": 3, "epochs": 3}, "FX1704", "found both"),
        ({"steps": 2}, "FX1507", "fewer than steps, 2"),
    ],
)
def test_arguments(spec: Spec, call: dict[str, int], code: str, match: str):
    with pytest.raises(UserError, match=match) as caught:
        make(spec, None, schedule=Linear(warmup=2)).fit(**call)
    assert caught.value.code == code


def test_evaluation_without_data(spec: Spec):
    model = to_torch(spec)
    with pytest.raises(UserError, match=r"only config\.evaluate") as caught:
        Trainer(
            model,
            torch.optim.SGD(model.parameters()),
            CrossEntropy(),
            [],
            config=TrainingConfig(evaluate=Evaluate(every=1)),
        )
    assert caught.value.code == "FX1505"
    with pytest.raises(UserError, match="a loader"):
        make(spec, None).evaluate()
    with pytest.raises(UserError, match="a run folder"):
        make(spec, None).save()


@pytest.mark.parametrize(
    ("keep", "every", "match"),
    [
        ({"best": "accuracy"}, None, r"config.checkpoint.best: .*\n.*keep_best of 1 or more"),
        ({"keep_best": 1}, None, r"config.checkpoint.keep_best: .*\n.*found neither"),
        ({"keep_best": 1, "every": 3}, 2, r"config.checkpoint.every: .*\n.*a multiple of config.evaluate.every, 2"),
        ({"keep_every": 5, "every": 2}, None, r"config.checkpoint.keep_every: .*\n.*a multiple of checkpoint.every, 2"),
    ],
)
def test_what_would_not_be_kept(keep: dict[str, int], every: int | None, match: str):
    held_out = {} if every is None else {"held_out": batches(1), "evaluate": {"every": every}}
    with pytest.raises(UserError, match=f"FX15(09|31) {match}"):
        trainer(batches(2), checkpoint=keep, **held_out)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_here(spec: Spec):
    with pytest.raises(UserError, match="no cuda") as caught:
        make(spec, None, device="cuda")
    assert caught.value.code == "FX1702"


def test_bf16_trains_in_fp32_weights(spec: Spec):
    trainer = make(spec, None, precision="bf16")
    first = trainer.fit(steps=1).loss
    assert first is not None
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    exact = make(spec, None).fit(steps=1).loss
    assert first != exact
    assert first == pytest.approx(exact, rel=0.01)  # later losses drift apart, as those of two seeds do
    last = trainer.fit(steps=40).loss
    assert last is not None
    assert last < first


def test_decay_is_for_matrices(spec: Spec):
    from flexit.runtime.train.optimizers.adamw import AdamW

    model = to_torch(spec)
    optimizer = make_optimizer(model, model.program, AdamW(weight_decay=0.3, betas=[0.8, 0.9]))
    names = {id(p): name for name, p in model.named_parameters()}
    decay = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay.keys() == set(names.values())
    assert {name for name, value in decay.items() if value == 0} == {name for name in decay if "norm" in name}
    assert set(decay.values()) == {0.0, 0.3}
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)
