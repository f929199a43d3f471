"""Updates that are not finite: left out or gone back from, as plain loops do it, and to the same bits after a kill."""

from __future__ import annotations

import copy
import json
import os
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flexit.errors import UserError
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.failures.mishaps import Failure
from flexit.runtime.train.saving.saved_steps import checkpoints
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.step import Step
from tests.runtime.train.plain import Small, batches, mean_loss, trainer

EVERY = {"every": 3, "keep_last": 2}


class Poisoned:
    """The loss, not a number in batches of some numbers."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad

    def __call__(self, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        loss = mean_loss(outputs, batch)
        return loss * float("nan") if int(batch["x"][0, 0]) in self.bad else loss


class Told(Callback):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.skipped: list[int] = []

    def after_failure(self, trainer: Trainer, failure: Failure) -> None:
        self.failures.append(failure)

    def after_step(self, trainer: Trainer, step: Step) -> None:
        if step.skipped:
            assert step.tokens == 0
            self.skipped.append(step.number)


def begun() -> tuple[Small, torch.optim.Optimizer]:
    model = Small().train()
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def one_update(model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor]) -> None:
    optimizer.zero_grad(set_to_none=True)
    mean_loss(model(batch["x"]), batch).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def contents(out: Path, step: int) -> dict[str, bytes]:
    files = [*(out / "checkpoints" / f"step-{step:06d}").rglob("*"), out / "metrics.jsonl"]
    found = {str(path.relative_to(out)): path.read_bytes() for path in files if path.is_file()}
    state = json.loads(found.pop(f"checkpoints/step-{step:06d}/training/state.json"))
    return found | {"state": json.dumps(state).encode()}


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_an_update_is_left_out_as_in_a_plain_loop(tmp_path: Path):
    """Dropout of a batch that was left out is drawn; weights, moments and running means stay."""
    data, told = batches(10), Told()
    run = trainer(
        data, told, loss_fn=Poisoned(2, 5), out=tmp_path, non_finite="skip", log={"every": 1}, seed=3,
        ema={"decay": 0.5},
    )  # fmt: skip
    result = run.fit(steps=9)
    torch.manual_seed(0)
    model, optimizer = begun()
    torch.manual_seed(3)
    mean: dict[str, Tensor] | None = None
    for number, batch in enumerate(data[:9]):
        if number in (2, 5):
            copy.deepcopy(model)(batch["x"])
            continue
        one_update(model, optimizer, batch)
        now = {name: value.detach().clone() for name, value in model.named_parameters()}
        mean = now if mean is None else {name: torch.lerp(mean[name], now[name], 0.5) for name in now}
    assert_same(run.model, model)
    assert mean is not None
    assert run.average is not None
    for name, value in run.average.named_parameters():
        torch.testing.assert_close(value, mean[name])
    assert (result.step, result.tokens) == (9, 14)
    assert [(f.step, f.answer, f.count) for f in told.failures] == [(3, "skip", 1), (6, "skip", 2)]
    assert told.skipped == [3, 6]
    found = lines(tmp_path)
    assert [line.get("skipped") for line in found] == [None, None, 1, None, None, 1, None, None, None]
    assert ["loss" in line for line in found] == [True, True, False, True, True, False, True, True, True]
    assert [line["tokens"] for line in found] == [2, 4, 4, 6, 8, 8, 10, 12, 14]


def test_lines_over_several_steps_have_the_loss_of_the_others(tmp_path: Path):
    trainer(batches(10), out=tmp_path / "whole", log={"every": 1}).fit(steps=4)
    trainer(batches(10), loss_fn=Poisoned(3), out=tmp_path / "run", non_finite="skip", log={"every": 4}).fit(steps=4)
    (line,) = lines(tmp_path / "run")
    expected = [each["loss"] for each in lines(tmp_path / "whole")[:3]]
    assert line["loss"] == pytest.approx(sum(expected) / 3, rel=1e-6)
    assert (line["skipped"], line["tokens"]) == (1, 6)


def test_too_many_in_a_row_end_the_run(tmp_path: Path):
    run = trainer(batches(10), loss_fn=Poisoned(1, 2, 4, 5, 6), non_finite={"kind": "skip", "most": 2}, out=tmp_path)
    with pytest.raises(UserError, match=r"FX1701: step 7 .*\n.*after 2 updates in a row that were left out"):
        run.fit(steps=9)
    assert run.step == 6


def test_the_run_goes_back_as_in_a_plain_loop(tmp_path: Path):
    """From the checkpoint of step 3 with the data after batch 4, and from that of step 6 later."""
    data, told = batches(12), Told()
    run = trainer(
        data, told, loss_fn=Poisoned(4, 8), out=tmp_path, non_finite="rollback", log={"every": 1}, checkpoint=EVERY,
        seed=3,
    )  # fmt: skip
    assert run.fit(steps=7).step == 7
    torch.manual_seed(0)
    model, optimizer = begun()
    torch.manual_seed(3)
    step, saved = 0, copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    for number, batch in enumerate(data):
        if number in (4, 8):
            copy.deepcopy(model)(batch["x"])
            model.load_state_dict(saved[0])
            optimizer.load_state_dict(copy.deepcopy(saved[1]))
            step = step // 3 * 3
            continue
        one_update(model, optimizer, batch)
        step += 1
        if step % 3 == 0:
            saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        if step == 7:
            break
    assert_same(run.model, model)
    assert [(f.step, f.answer, f.count) for f in told.failures] == [(5, "rollback", 1), (7, "rollback", 2)]
    found = lines(tmp_path)
    assert [line["step"] for line in found] == list(range(1, 8))
    assert [line.get("rollbacks") for line in found] == [None, None, None, 1, None, None, 2]
    assert [line["tokens"] for line in found] == [2 * number for number in range(1, 8)]


def test_it_begins_with_something_to_go_back_to(tmp_path: Path):
    run = trainer(batches(10), loss_fn=Poisoned(1), out=tmp_path, non_finite="rollback")
    assert run.fit(steps=3).step == 3
    torch.manual_seed(0)
    model, optimizer = begun()
    first = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    model(batches(10)[0]["x"])
    copy.deepcopy(model)(batches(10)[1]["x"])
    model.load_state_dict(first)
    for batch in batches(10)[2:5]:
        one_update(model, optimizer, batch)
    assert_same(run.model, model)


def test_a_run_that_began_without_rollbacks_goes_back_to_its_newest_checkpoint(tmp_path: Path):
    keep = {"every": 5, "keep_last": 1}
    trainer(batches(12), out=tmp_path, checkpoint=keep).fit(steps=7)
    told = Told()
    run = trainer(batches(12), told, out=tmp_path, checkpoint=keep, loss_fn=Poisoned(8), non_finite="rollback")
    run.resume(allow_changed=True)
    assert run.fit(steps=9).step == 9
    assert [(each.step, each.answer) for each in told.failures] == [(9, "rollback")]


def test_steps_that_are_made_anew_are_saved_at_the_end(tmp_path: Path):
    class StopsAgain(Callback):
        def after_failure(self, trainer: Trainer, failure: Failure) -> None:
            trainer.steps = 7

    run = trainer(
        batches(12), StopsAgain(), out=tmp_path, checkpoint={"every": 5}, loss_fn=Poisoned(7), non_finite="rollback"
    )  # fmt: skip
    run.fit(steps=7)
    result = run.fit(steps=12)
    assert result.step == 7 and result.checkpoint is not None
    assert result.checkpoint.name == "step-000007"


def test_the_run_goes_back_a_few_times_alone(tmp_path: Path):
    policy = {"kind": "rollback", "most": 2}
    run = trainer(batches(10), loss_fn=Poisoned(2, 4, 6), out=tmp_path, non_finite=policy, checkpoint=EVERY)
    with pytest.raises(UserError, match=r"FX1701: step 2 .*\n.*after going back 2 times"):
        run.fit(steps=9)


def test_going_back_needs_a_folder():
    with pytest.raises(UserError, match=r"FX1704 config.non_finite: .*\n.*expected a run folder"):
        trainer(batches(3), non_finite="rollback")


class Dies(Callback):
    """Ends the process, as far as a test may: at a step, when it is made for the first or second time."""

    def __init__(self, at: int, times: int, *, softly: bool) -> None:
        self.at, self.left, self.softly = at, times, softly

    def after_step(self, trainer: Trainer, step: Step) -> None:
        if step.number == self.at:
            self.left -= 1
            if self.left == 0 and self.softly:
                os.kill(os.getpid(), signal.SIGTERM)
            elif self.left == 0:
                raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("softly", [True, False])
@pytest.mark.parametrize(
    ("policy", "at", "times"),
    [("skip", 4, 1), ("skip", 5, 1), ("rollback", 2, 1), ("rollback", 4, 1), ("rollback", 4, 2), ("rollback", 7, 1)],
)
def test_the_same_bits_after_a_kill(tmp_path: Path, policy: str, at: int, times: int, softly: bool):
    settings: dict[str, Any] = {
        "loss_fn": Poisoned(7, 13), "non_finite": policy, "checkpoint": EVERY, "log": {"every": 2}, "accumulate": 2,
        "ema": {"decay": 0.5},
    }  # fmt: skip
    assert trainer(batches(40), out=tmp_path / "whole", **settings).fit(steps=8).step == 8
    dying = trainer(batches(40), Dies(at, times, softly=softly), out=tmp_path / "parts", **settings)
    with nullcontext() if softly else pytest.raises(KeyboardInterrupt):
        assert dying.fit(steps=8).step == at
    torch.manual_seed(99)
    second = trainer(batches(40), out=tmp_path / "parts", **settings)
    second.resume()
    assert second.fit(steps=8).step == 8
    assert contents(tmp_path / "parts", 8) == contents(tmp_path / "whole", 8)


def test_a_loss_that_is_none_in_fp16(tmp_path: Path):
    """The scaler's state of an update that was left out is cleared, so that the next can be made."""
    told = Told()
    run = trainer(batches(10), told, loss_fn=Poisoned(1, 2), non_finite="skip", precision="fp16", out=tmp_path)
    assert run.fit(steps=6).step == 6
    assert told.skipped == [2, 3]
    assert all(bool(torch.isfinite(value).all()) for value in run.model.parameters())
    back = trainer(
        batches(10), loss_fn=Poisoned(4), non_finite="rollback", precision="fp16", out=tmp_path / "b", checkpoint=EVERY
    )  # fmt: skip
    assert back.fit(steps=6).step == 6
    assert len(checkpoints(tmp_path / "b" / "checkpoints")) == 2


def test_a_refusal_to_keep_the_batch_does_not_hide_the_failure(tmp_path: Path):
    (tmp_path / "failures").write_text("mine")
    run = trainer(batches(10), loss_fn=Poisoned(1), out=tmp_path)
    (tmp_path / "failures").unlink()
    (tmp_path / "failures").touch()
    with pytest.raises(UserError, match=r"FX1701(.|\n)*the batch could not be kept"):
        run.fit(steps=3)
