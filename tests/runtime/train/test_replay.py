"""The first bad block by name, the batch that is kept, and its replay from the files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import flexit
from flexit.cli.app import run as command
from flexit.errors import CheckpointError, UserError
from flexit.ir.io.load import presets
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.grid import Case, inputs_for
from flexit.runtime.train.failures.before import Before
from flexit.runtime.train.failures.examine import examine
from flexit.runtime.train.failures.numbers import numbers_of
from flexit.runtime.train.failures.record import KEPT, recorded
from flexit.runtime.train.failures.replay import replay
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.loss import CrossEntropy
from tests.miniature import miniature
from tests.runtime.train.plain import batches, mean_loss, trainer

HUGE = 3e38


def rows(count: int, seed: int = 0) -> list[dict[str, Tensor]]:
    """Batches of random tokens below 50."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 50, (count, 2, 9), generator=draw)
    return [{"input_ids": each[:, :-1], "labels": each[:, 1:]} for each in ids]


def make(spec: Spec, data: Any, out: Path | None, **settings: Any) -> Trainer:
    model = to_torch(spec, seed=0)
    config = {"progress": False, "device": "cpu", "out": None if out is None else str(out)} | settings
    return Trainer(model, torch.optim.AdamW(model.parameters(), lr=1e-3), CrossEntropy(), data, config=config)


def scaled(module: nn.Module, *, forward: float = 1.0, backward: float = 1.0) -> None:
    """Let the output of a module be multiplied, and the gradient that reaches it."""

    def hook(module: nn.Module, given: Any, output: Any) -> Any:
        del module, given
        first = output[0] if isinstance(output, tuple) else output
        changed = first * forward
        if backward != 1.0 and changed.requires_grad:
            changed.register_hook(lambda gradient: gradient * backward)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    module.register_forward_hook(hook)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "path", ["embed.tokens", "decoder.layers.0.attention.q_proj", "decoder.layers.1", "decoder.layers.2.feed_forward"]
)
def test_the_first_block_in_order_of_execution(spec: Spec, path: str, compiled: bool):
    run = make(spec, rows(4), None, recompute=compiled)
    scaled(run.model.get_submodule(path), forward=math.inf)
    with pytest.raises(UserError) as caught:
        run.fit(steps=1)
    assert f"first bad: the output of block {path} (" in str(caught.value)


@pytest.mark.parametrize("path", ["decoder.layers.0.attention.v_proj", "decoder.layers.1", "decoder.final_norm"])
def test_the_first_block_in_order_of_backward(spec: Spec, path: str):
    run = make(spec, rows(4), None)
    scaled(run.model.get_submodule(path), backward=math.nan)
    with pytest.raises(UserError) as caught:
        run.fit(steps=1)
    assert f"a finite loss; first bad: the gradient that reaches the output of block {path}, while" in str(caught.value)


def test_what_a_block_computes_itself_is_not_blamed_on_the_next(spec: Spec):
    """The sum of attention and its input overflows in a layer, between two of its blocks."""
    run = make(spec, rows(4), None)
    for name in ("attention", "attention_input_norm"):
        scaled(run.model.get_submodule(f"decoder.layers.0.{name}"), forward=0.0)
    embed = run.model.get_submodule("embed.tokens")
    embed.register_forward_hook(lambda module, given, output: output * 0 + HUGE)
    scaled(run.model.get_submodule("decoder.layers.0.attention"), forward=0.0)
    run.model.get_submodule("decoder.layers.0.attention").register_forward_hook(
        lambda module, given, output: (output[0] * 0 + HUGE, *output[1:])
    )
    with pytest.raises(UserError, match=r"first bad: what block decoder\.layers\.0 itself computes, before"):
        run.fit(steps=1)


def test_a_norm_that_overflows_of_gradients_that_do_not(spec: Spec):
    run = make(spec, rows(4), None)
    scaled(run.model.get_submodule("head.table"), backward=1e30)
    with pytest.raises(UserError, match=r"first bad: the norm of all gradients, the largest of which is that of "):
        run.fit(steps=1)


def test_a_weight_and_an_entry_of_the_batch(spec: Spec):
    run = make(spec, rows(4), None)
    with torch.no_grad():
        run.model.get_parameter("decoder.layers.1.attention.o_proj.weight")[0, 0] = math.inf
    with pytest.raises(UserError, match=r"first bad: the values of decoder\.layers\.1\.attention\.o_proj\.weight"):
        run.fit(steps=1)
    data = batches(3)
    data[1]["x"][1, 1] = math.nan
    with pytest.raises(UserError, match=r"first bad: the entry x of the batch \(1 of 6 numbers \[2, 3\] not finite"):
        trainer(data).fit(steps=3)


def test_the_micro_batch_and_what_is_left_alone(spec: Spec):
    """Gradients, random states and weights are as the update left them."""
    data = rows(6)
    data[4]["input_ids"][1, 3] = 77
    losing, whole = (make(spec, data, None, accumulate=3) for _ in range(2))
    for run in (losing, whole):
        with torch.no_grad():
            run.model.get_parameter("embed.tokens.weight")[77] = math.inf if run is losing else 1.0
    with torch.no_grad():
        losing.model.get_parameter("embed.tokens.weight")[77] = HUGE
    with pytest.raises(UserError, match=r"in micro-batch 2 of 3") as caught:
        losing.fit(steps=2)
    assert "step 2 " in str(caught.value)
    state = torch.get_rng_state()
    assert all(value.grad is not None for value in losing.model.parameters())
    whole.fit(steps=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_figures():
    found = numbers_of(torch.tensor([[1.0, -3.0, math.nan], [math.inf, -math.inf, 2.0]]))
    assert (found.nan, found.infinite, found.bad, found.count) == (1, 2, 3, 6)
    assert (found.lowest, found.highest, found.rms) == (-3.0, 2.0, pytest.approx(math.sqrt(14 / 3)))
    assert str(numbers_of(torch.full((2,), math.nan))).endswith("2 nan, 0 infinite; none finite")


@pytest.mark.slow
@pytest.mark.parametrize("name", presets())
def test_nothing_is_found_in_a_sound_model(name: str):
    """Masks and the like have no infinite numbers that would be taken for a fault."""
    spec = miniature(name)
    model = to_torch(spec, seed=0).train()
    cases = inputs_for(model.program, Case(2, 4, 0), np.random.default_rng(0))
    given = {name: torch.as_tensor(value) for name, value in cases.items()}

    def loss(outputs: Any, batch: Any) -> Tensor:
        del batch
        return sum((value.float().square().mean() for value in outputs.values()), torch.zeros(()))

    before = Before.of(model)
    found, _ = examine(model, loss, [given], before=before, autocast=torch.enable_grad, scale=1.0)
    assert found is None


def failed(spec: Spec, out: Path, **settings: Any) -> str:
    """A run in a folder that fails at step 3, in the second micro-batch, by a large number."""
    data = rows(8)
    data[5]["input_ids"][0, 2] = 60
    run = make(spec, data, out, accumulate=2, **settings)
    with torch.no_grad():
        run.model.get_parameter("embed.tokens.weight")[60] = HUGE
    with pytest.raises(UserError) as caught:
        run.fit(steps=4)
    assert "step 3 " in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("settings", [{}, {"recompute": True}, {"precision": "bf16"}])
def test_it_is_run_once_more_from_its_files(
    spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any]
):
    told = failed(spec, tmp_path / "run", **settings)
    folder = tmp_path / "run" / "failures" / "step-000003"
    assert f"flexit replay {folder}" in told
    done = replay(tmp_path / "run")
    assert done.same
    assert (done.folder, done.step, list(done.traces)) == (folder, 3, [1])
    assert done.first is not None
    assert f"first bad: {done.first}, in micro-batch 2 of 2" in told
    again = replay(folder)
    assert (again.traces[1].outputs, again.traces[1].gradients) == (done.traces[1].outputs, done.traces[1].gradients)
    paths = [path for path, _ in done.traces[1].outputs]
    assert paths[0] == "embed.tokens"
    assert {f"decoder.layers.{number}" for number in range(3)} <= set(paths)
    state = torch.get_rng_state()
    assert command(["replay", str(tmp_path / "run")]) == 0
    assert torch.equal(state, torch.get_rng_state())
    out = capsys.readouterr().out
    assert f"first bad: {done.first}\nas in the run\n" in out
    assert command(["replay", str(folder), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["same"], data["first"]) == (True, done.first.data())
    kept = json.loads((folder / "failure.json").read_text())["parts"]
    assert data["micro_batches"]["1"]["losses"] == kept[0]["losses"]


def test_the_weights_and_the_batch_are_those_of_the_update(spec: Spec, tmp_path: Path):
    failed(spec, tmp_path / "run")
    reference = make(spec, rows(4), None, accumulate=2)
    with torch.no_grad():
        reference.model.get_parameter("embed.tokens.weight")[60] = HUGE
    reference.fit(steps=2)
    from flexit.runtime.train.failures.record import read

    kept = read(tmp_path / "run" / "failures" / "step-000003")
    for name, value in reference.model.named_parameters():
        assert torch.equal(kept.weights[name], value), name
    ((batch, _, _),) = kept.parts
    assert int(batch["input_ids"][0, 2]) == 60


def test_other_numbers_are_told(spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    failed(spec, tmp_path / "run")
    file = tmp_path / "run" / "failures" / "step-000003" / "failure.json"
    data = json.loads(file.read_text())
    data["first"]["numbers"]["nan"] += 1
    file.write_text(json.dumps(data))
    assert command(["replay", str(tmp_path / "run")]) == 1
    assert "not as in the run" in capsys.readouterr().out
    (file.parent / "batch.safetensors").write_bytes(b"other")
    with pytest.raises(CheckpointError, match=r"FX1201: .*\n.*batch.safetensors has changed"):
        replay(tmp_path / "run")
    file.write_text('{"files": {"../../x": "1"}, "parts": 3}')
    assert command(["replay", str(tmp_path / "run")]) == 2


def test_a_run_without_failures_and_code_of_ones_own(tmp_path: Path):
    with pytest.raises(UserError, match="FX1711"):
        replay(tmp_path)
    data = batches(3)
    data[1]["x"][1, 1] = math.nan
    run = trainer(data, out=tmp_path / "run")
    with pytest.raises(UserError, match="FX1701"):
        run.fit(steps=3)
    with pytest.raises(UserError, match=r"FX1711 loss_fn: (.|\n)*replay\("):
        replay(tmp_path / "run")
    with pytest.raises(UserError, match=r"FX1711 model: "):
        replay(tmp_path / "run", loss_fn=mean_loss)
    done = replay(tmp_path / "run", model=run.model, loss_fn=mean_loss)
    assert done.same
    assert done.first is not None
    assert done.first.where == "batch"


def test_few_are_kept(tmp_path: Path):
    data = batches(9)
    for number in (1, 2, 4, 6, 7):
        data[number]["x"][1, 1] = math.nan
    trainer(data, out=tmp_path / "run", non_finite="skip").fit(steps=9)
    assert [path.name for path in recorded(tmp_path / "run")] == ["step-000005", "step-000007", "step-000008"]
    assert KEPT == 3
    assert sorted(path.name for path in (tmp_path / "run" / "failures").iterdir()) == [
        "step-000005", "step-000007", "step-000008",
    ]  # fmt: skip


def test_a_loss_of_this_library_is_kept_with_its_settings():
    from flexit.runtime.train.failures.losses import described, made
    from flexit.runtime.train.update.loss import InBatch, SquaredError

    for loss in (CrossEntropy(z_loss=0.1, label_smoothing=0.2), CrossEntropy(chunk=7), SquaredError(), InBatch(0.3)):
        data = json.loads(json.dumps(described(loss)))
        assert vars(made(data)) == vars(loss)
    assert described(mean_loss) is None
    assert flexit.Trainer is Trainer
