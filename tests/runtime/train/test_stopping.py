"""Runs that end before their last step: held-out data that does not get better, and time that is over."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from flexit.cli.app import run
from flexit.errors import UserError
from flexit.runtime.train.callbacks.early_stopping import EarlyStopper
from flexit.runtime.train.callbacks.metrics import read_lines
from flexit.runtime.train.config import Checkpoint, EarlyStopping, Evaluate, Limit
from flexit.runtime.train.result import HeldOut
from flexit.runtime.train.run import train
from flexit.runtime.train.trainer import Trainer
from tests.runtime.train.plain import batches, trainer


def stopping(scores: Iterable[float], *, metric: str = "loss", **settings: Any) -> int:
    """The evaluation after which a run stops that is told these scores; one for each step."""
    given = list(scores)
    metrics = [] if metric == "loss" else [metric]
    made = trainer(
        batches(3), held_out=batches(1), evaluate=Evaluate(every=1, metrics=metrics),
        early_stopping=EarlyStopping(metric=metric, **settings),
    )  # fmt: skip

    def pretend(*, max_batches: int | None = None) -> dict[str, float]:
        del max_batches
        score = given[made.step - 1]
        made._held_out = HeldOut(made.step, score, score)  # pyright: ignore[reportPrivateUsage]
        made._tell("after_evaluation", {f"validation_{metric}": score})  # pyright: ignore[reportPrivateUsage]
        return {}

    made.evaluate = pretend
    result = made.fit(steps=len(given))
    assert result.stopped_by is None
    assert result.early == (result.step < len(given))
    return result.step


def test_it_waits_as_long_as_it_is_said_to():
    assert stopping([3, 2, 2, 2, 2, 2, 2], patience=2) == 4
    assert stopping([3, 2, 2.5, 1.9, 2, 2, 2], patience=2) == 6
    assert stopping([3, 2, 1, 0.5], patience=1) == 4
    assert stopping([3, 2.9, 2.8, 2.7, 1], patience=3, min_delta=0.25) == 5
    assert stopping([3, 2.9, 2.8, 2.7, 1], patience=3, min_delta=0.5) == 4


def test_a_metric_knows_which_way_is_better():
    assert stopping([0.1, 0.2, 0.3, 0.3, 0.2, 0.1], metric="accuracy", patience=2) == 5
    assert stopping([9, 8, 7, 7, 8, 9, 9], metric="perplexity", patience=2) == 5


def test_what_is_no_number_is_never_better():
    assert stopping([math.nan, math.nan, 1, 1, 1], patience=2) == 2
    assert stopping([2, math.nan, 1, 3, 3, 3], patience=2) == 5


def made(out: Path, **settings: Any) -> Trainer:
    """A trainer whose held-out loss grows after some steps."""
    return trainer(
        batches(3), held_out=batches(9)[3:], out=out, evaluate=Evaluate(every=2),
        checkpoint=Checkpoint(every=2, keep_last=20), early_stopping=EarlyStopping(patience=3), **settings,
    )  # fmt: skip


def ended(out: Path) -> tuple[bytes, bytes, dict[str, Any]]:
    name = (out / "LATEST").read_text().strip()
    folder = out / "checkpoints" / name
    states = json.loads((folder / "training" / "state.json").read_text())["callbacks"]
    return (out / "metrics.jsonl").read_bytes(), (folder / "model.safetensors").read_bytes(), states


def test_it_stops_at_the_same_step_with_the_same_bits_when_it_goes_on(tmp_path: Path):
    whole = made(tmp_path / "whole").fit(steps=200)
    assert whole.early
    assert 6 <= whole.step < 200
    for upto in range(2, whole.step, 4):
        out = tmp_path / f"upto-{upto}"
        made(out, log={"every": 200}).fit(steps=upto)
    for upto in range(2, whole.step, 4):
        out = tmp_path / f"upto-{upto}"
        again = made(out, log={"every": 200})
        again.resume()
        assert again.fit(steps=200).step == whole.step
        (_, weights, states), (_, expected, _) = ended(out), ended(tmp_path / "whole")
        assert weights == expected
        assert states["flexit.EarlyStopper"]["waited"] == 3


def test_a_run_that_stopped_stays_as_it_is(tmp_path: Path):
    first = made(tmp_path).fit(steps=200)
    before = ended(tmp_path)
    again = made(tmp_path)
    again.resume()
    result = again.fit(steps=200)
    assert (result.step, result.early) == (first.step, True)
    assert ended(tmp_path) == before


def test_a_look_between_two_runs_is_not_waited_for(tmp_path: Path):
    one = made(tmp_path)
    one.fit(steps=4)
    (stopper,) = [each for each in one.callbacks if isinstance(each, EarlyStopper)]
    before = stopper.state_dict()
    one.evaluate()
    assert stopper.state_dict() == before


def test_a_score_that_is_not_told():
    one = trainer(
        batches(3), held_out=batches(1), evaluate=Evaluate(every=1), early_stopping=EarlyStopping(metric="accuracy")
    )
    with pytest.raises(UserError, match=r"FX1531 early_stopping\.metric"):
        one.fit(steps=2)
    with pytest.raises(UserError, match=r"FX1531 config\.early_stopping"):
        trainer(batches(3), early_stopping=EarlyStopping())


def test_time_that_is_over_ends_the_step_with_a_checkpoint(tmp_path: Path):
    once = trainer(batches(3), out=tmp_path / "once", log={"every": 2})
    once.fit(steps=5)
    for step in range(1, 5):
        again = trainer(batches(3), out=tmp_path / "parts", log={"every": 2}, limit=Limit(minutes=1e-9))
        again.resume()
        result = again.fit(steps=5)
        assert (result.step, result.stopped_by, result.early) == (step, "limit.minutes", False)
        assert result.checkpoint is not None
        assert result.checkpoint.name == f"step-{step:06}"
    again = trainer(batches(3), out=tmp_path / "parts", log={"every": 2}, limit=Limit(minutes=1e-9))
    again.resume()
    assert again.fit(steps=5).stopped_by is None
    assert ended(tmp_path / "parts")[:2] == ended(tmp_path / "once")[:2]


@pytest.mark.slow
def test_the_command_says_how_it_ended(write_config: Callable[..., Path], capsys: pytest.CaptureFixture[str]):
    path = write_config(limit="{minutes: 0.000001}", steps="2", schedule="constant")
    assert run(["train", str(path)]) == 130
    assert "stopped by limit.minutes; the same command goes on" in capsys.readouterr().out
    assert run(["train", str(path)]) == 0
    assert "step 2" in capsys.readouterr().out
    early = write_config(out="early", early_stopping="{patience: 1, min_delta: 9}", steps="40")
    assert run(["train", str(early)]) == 0
    assert "it got no better, so it ended before its last step" in capsys.readouterr().out
    assert train(early, progress=False).early
    assert [line["step"] for line in read_lines(early.parent / "early" / "metrics.jsonl")][-1] == 8
    assert torch.is_grad_enabled()
