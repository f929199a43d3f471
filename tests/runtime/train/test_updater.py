"""Clips, the mean of the weights, fp16 with its scaler, the z-loss and exact accumulation, against plain loops."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import flexit
from flexit.errors import UserError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.saved import read_spec, read_weights
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.run import train
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.loss import IGNORED, CrossEntropy
from flexit.runtime.train.update.step import Clip, Step, accumulate, update
from tests.runtime.train.plain import Small, batches, mean_loss, trainer
from tests.runtime.train.test_step import ragged, split

STEPS = 6
SMALL = ["blocks.embed.vocab_size=300"]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a checkpoint, and the metrics of its run."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return files | {"metrics": (folder.parent.parent / "metrics.jsonl").read_bytes()}


class Stop(Callback):
    """Ends a run as a signal does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, trainer: Trainer, step: Step) -> None:
        if step.number == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def with_gradients(*values: list[float]) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.ParameterList([nn.Parameter(torch.zeros(len(each))) for each in values])
    for parameter, each in zip(model, values, strict=True):
        parameter.grad = torch.tensor(each)
    return model, torch.optim.SGD(model.parameters(), lr=1.0)


def test_numbers_are_cut_to_the_value_and_then_all_of_them_to_the_norm():
    model, optimizer = with_gradients([3.0, -0.5], [-4.0])
    norm = update(model, optimizer, losses={}, clip=Clip(value=1.0), number=1)
    assert norm == pytest.approx(math.sqrt(9 + 0.25 + 16))
    assert [p.tolist() for p in model.parameters()] == [[-1.0, 0.5], [1.0]]
    model, optimizer = with_gradients([3.0, 0.0], [-4.0])
    update(model, optimizer, losses={}, clip=Clip(norm=0.5, value=1.0), number=1)
    assert torch.cat([p.detach() for p in model.parameters()]).tolist() == pytest.approx(
        [-0.5 / math.sqrt(2), 0.0, 0.5 / math.sqrt(2)], rel=1e-5
    )


def test_clip_value_is_that_of_pytorch():
    run = trainer(batches(STEPS), clip_norm=None, clip_value=0.01)
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.5)
    run = Trainer(
        run.model, run.optimizer, mean_loss, batches(STEPS),
        config={"clip_norm": None, "clip_value": 0.01, "progress": False, "device": "cpu"},
    )  # fmt: skip
    run.fit(steps=STEPS)
    plain = Small().train()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.5)
    torch.manual_seed(0)
    for batch in batches(STEPS):
        optimizer.zero_grad()
        mean_loss(plain(batch["x"]), batch).backward()
        nn.utils.clip_grad_value_(plain.parameters(), 0.01)
        optimizer.step()
    for one, other in zip(run.model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


def test_gradients_of_parameters_that_do_not_move_are_those_of_one_update():
    norms: list[float | None] = []

    class Keep(Callback):
        def after_step(self, trainer: Trainer, step: Step) -> None:
            norms.append(step.grad_norm)

    model = Small()
    model.layers[2] = nn.Identity()  # no dropout
    optimizer = torch.optim.SGD(model.layers[3].parameters(), lr=1e-12)
    config = {"clip_norm": None, "progress": False, "device": "cpu"}
    Trainer(model, optimizer, mean_loss, batches(1), None, [Keep()], config).fit(steps=3)
    assert norms == pytest.approx(norms[:1] * 3)


def test_the_mean_of_the_weights_is_its_formula():
    seen: list[list[Tensor]] = []

    class Keep(Callback):
        def after_step(self, trainer: Trainer, step: Step) -> None:
            seen.append([p.detach().double().clone() for p in trainer.model.parameters()])

    run = trainer(batches(STEPS), Keep(), ema={"decay": 0.8})
    run.fit(steps=STEPS)
    mean = seen[0]
    for weights in seen[1:]:
        mean = [0.8 * old + 0.2 * new for old, new in zip(mean, weights, strict=True)]
    assert run.average is not None
    for found, wanted, last in zip(run.average.parameters(), mean, run.model.parameters(), strict=True):
        assert torch.allclose(found.double(), wanted, atol=1e-6)
        assert not torch.allclose(found, last, atol=1e-4)
    for found, last in zip(run.average.buffers(), run.model.buffers(), strict=True):
        assert torch.equal(found, last)


def test_evaluation_with_the_mean():
    held_out = batches(3)
    settings: dict[str, Any] = {"held_out": held_out, "evaluate": {"every": STEPS}}
    with_mean = trainer(batches(STEPS), ema={"decay": 0.9, "evaluate": True}, **settings)
    without = trainer(batches(STEPS), ema={"decay": 0.9}, **settings)
    losses = [run.fit(steps=STEPS).validation_loss for run in (with_mean, without)]
    for run, chosen, loss in ((with_mean, with_mean.average, losses[0]), (without, without.model, losses[1])):
        assert chosen is not None and run.model.training
        chosen.eval()
        with torch.no_grad():
            wanted = sum(float(mean_loss(chosen(batch["x"]), batch)) for batch in held_out) / 3
        assert loss == pytest.approx(wanted, rel=1e-6)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("settings", [{"ema": {"decay": 0.8}}, {"precision": "fp16"}, {"clip_value": 0.05}])
def test_going_on_gives_the_same_bits(tmp_path: Path, settings: dict[str, Any]):
    settings |= {"accumulate": 2, "log": {"every": 1}}
    trainer(batches(5), out=tmp_path / "whole", **settings).fit(steps=8)
    assert trainer(batches(5), Stop(3), out=tmp_path / "parts", **settings).fit(steps=8).stopped_by == "SIGTERM"
    again = trainer(batches(5), out=tmp_path / "parts", **settings)
    assert again.resume() == []
    again.fit(steps=8)
    whole, parts = (contents(tmp_path / name / "checkpoints" / "step-000008") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert [name for name in whole if whole[name] != parts[name]] == []
    assert ("ema/model.safetensors" in whole) == ("ema" in settings)


def test_a_mean_that_is_new_begins_at_the_weights(tmp_path: Path):
    trainer(batches(5), out=tmp_path).fit(steps=3)
    run = trainer(batches(5), out=tmp_path, ema={"decay": 0.5})
    run.resume(allow_changed=True)
    run.fit(steps=4)
    assert run.average is not None
    for mean, last in zip(run.average.parameters(), run.model.parameters(), strict=True):
        assert torch.equal(mean, last)


def test_the_mean_is_a_checkpoint_of_its_own(tmp_path: Path, write_config: Callable[..., Path]):
    train(write_config(ema="{decay: 0.9}", evaluate="", data=DATA, checkpoint="{every: 4}"), progress=False)
    folder = tmp_path / "run" / "checkpoints" / "step-000012"
    mean, last = folder / "ema", folder
    spec = read_spec(mean)
    model = to_torch(spec, read_weights(mean))
    assert (mean / "tokenizer.json").read_bytes() == (last / "tokenizer.json").read_bytes()
    weights = load_file(last / "model.safetensors")
    assert all(not torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    bundle = flexit.export(mean, tmp_path / "bundle")
    assert bundle.manifest["evidence"]["error"] < bundle.manifest["evidence"]["tolerance"]
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())] == [
        "step-000008", "step-000012"
    ]  # fmt: skip


DATA = "{train: {kind: text, files: ['corpus/*.py']}, seq_len: 16, tokenizer: bpe}"


def test_fp16_is_a_plain_loop_with_a_scaler():
    """Weights stay fp32; what a step computes is that of PyTorch's own recipe, bit by bit."""
    run = trainer(batches(STEPS), precision="fp16", clip_norm=1.0)
    run.fit(steps=STEPS)
    plain = Small().train()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    torch.manual_seed(0)
    for batch in batches(STEPS):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = mean_loss(plain(batch["x"]), batch)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    exact = trainer(batches(STEPS), precision="fp32")
    exact.fit(steps=STEPS)
    for one, other, third in zip(
        run.model.parameters(), plain.parameters(), exact.model.parameters(), strict=True
    ):  # fmt: skip
        assert one.dtype == torch.float32
        assert torch.equal(one, other)
        assert not torch.equal(one, third)


def overflowing(times: int) -> Callable[[Any, Any], Tensor]:
    """A loss whose gradient overflows the first few times."""
    calls = 0

    class Overflow(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return gradient * math.inf

    def loss(outputs: Tensor, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return mean_loss(Overflow.apply(outputs) if calls <= times else outputs, batch)

    return loss


def test_an_overflow_moves_nothing_and_lowers_the_factor(tmp_path: Path):
    run = trainer(
        batches(STEPS), loss_fn=overflowing(2), precision="fp16", ema={"decay": 0.5}, out=tmp_path,
        log={"every": 1}, checkpoint={"every": 2},
    )  # fmt: skip
    first = [p.detach().clone() for p in run.model.parameters()]
    run.fit(steps=2)
    assert all(torch.equal(p, before) for p, before in zip(run.model.parameters(), first, strict=True))
    state = json.loads((tmp_path / "checkpoints" / "step-000002" / "training" / "state.json").read_text())
    assert state["scaler"]["scale"] == 65536 / 4
    assert state["averaged"] == 0
    run.fit(steps=3)
    assert all(not torch.equal(p, before) for p, before in zip(run.model.parameters(), first, strict=True))
    norms = [json.loads(line)["grad_norm"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert norms[:2] == [None, None] and norms[2] > 0


def test_overflow_without_end_stops_the_run():
    run = trainer(batches(STEPS), loss_fn=overflowing(1000), precision="fp16")
    with pytest.raises(UserError, match=r"FX1701: step 17 ") as caught:
        run.fit(steps=100)
    assert "the gradient that reaches the output of block layers" in str(caught.value)


def test_a_device_without_fp16_refuses_it(monkeypatch: pytest.MonkeyPatch):
    def refuse(self: Any, optimizer: Any) -> None:
        raise NotImplementedError("no such kernel")

    monkeypatch.setattr(torch.amp.GradScaler, "unscale_", refuse)
    with pytest.raises(UserError, match="FX1702 precision: this machine has no fp16"):
        trainer(batches(STEPS), precision="fp16")


def test_the_z_loss_is_its_formula():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 7, (2, 5), generator=draw)
    labels[0, 3:] = IGNORED
    terms = CrossEntropy(z_loss=0.25)({"logits": logits}, {"labels": labels})
    counted = [logits[b, t] for b in range(2) for t in range(5) if labels[b, t] != IGNORED]
    wanted = 0.25 * sum(math.log(sum(math.exp(x) for x in row.tolist())) ** 2 for row in counted) / 8
    assert float(terms["z_loss"]) == pytest.approx(wanted, rel=1e-12)
    assert CrossEntropy()({"logits": logits}, {"labels": labels}).keys() == {"loss"}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 5e-6)])
def test_thirty_two_of_one_are_one_of_thirty_two(dtype: torch.dtype, tolerance: float):
    """Gradients with the z-loss too, on rows of very different lengths."""
    model = to_torch(load_spec("tiny-llama", sets=SMALL), dtype=dtype)
    found: list[dict[str, Tensor]] = []
    for size in (32, 1):
        model.zero_grad()
        accumulate(model, CrossEntropy(z_loss=1e-2), split(ragged(), size))
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    whole, parts = found
    assert whole.keys() == parts.keys() == dict(model.named_parameters()).keys()
    for name, gradient in whole.items():
        assert float((gradient - parts[name]).abs().max() / gradient.abs().max()) < tolerance, name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 5e-6)])
def test_a_run_of_sgd_ends_alike_with_thirty_two_of_one(dtype: torch.dtype, tolerance: float):
    found: list[dict[str, Tensor]] = []
    for size in (32, 1):
        model = to_torch(load_spec("tiny-llama", sets=SMALL), seed=1, dtype=dtype)
        first = {name: p.detach().clone() for name, p in model.named_parameters()}
        run = Trainer(
            model, torch.optim.SGD(model.parameters(), lr=0.5), CrossEntropy(), split(ragged(), size),
            config={"accumulate": 32 // size, "progress": False, "device": "cpu"},
        )  # fmt: skip
        run.fit(steps=5)
        found.append({name: p.detach() for name, p in model.named_parameters()})
        assert all(float((found[-1][name] - p).abs().max()) > 1e-4 for name, p in first.items())
    whole, parts = found
    for name, weights in whole.items():
        assert float((weights - parts[name]).abs().max() / weights.abs().max()) < tolerance, name
