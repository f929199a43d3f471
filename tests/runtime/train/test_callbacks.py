"""Callbacks of one class keep a state each, under names that are documented."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from flexit.errors import CheckpointError, UserError
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.callbacks.progress import ProgressBar
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.step import Step
from tests.runtime.train.plain import batches, trainer


class Count(Callback):
    """Counts by some amount."""

    def __init__(self, by: int) -> None:
        self.by = by
        self.value = 0

    def after_step(self, trainer: Trainer, step: Step) -> None:
        self.value += self.by

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.value = state["value"]


class Named(Count):
    """Has a name of its own."""

    def __init__(self, by: int, name: str) -> None:
        super().__init__(by)
        self.name = name

    @property
    def state_key(self) -> str:
        return self.name


class Metrics(Count):
    """Is called like a callback of ours."""


def states(run: Path) -> dict[str, Any]:
    """The states in the newest checkpoint, those that say something."""
    name = (run / "LATEST").read_text().strip()
    saved = json.loads((run / "checkpoints" / name / "training" / "state.json").read_text())["callbacks"]
    return {key: value for key, value in saved.items() if value}


def test_two_of_one_class_go_on_where_each_was(tmp_path: Path):
    trainer(batches(4), Count(1), Count(10), out=tmp_path).fit(steps=3)
    assert states(tmp_path) == {
        "Count": {"value": 3}, "Count#2": {"value": 30}, "flexit.Metrics": states(tmp_path)["flexit.Metrics"],
    }  # fmt: skip
    one, ten = Count(1), Count(10)
    again = trainer(batches(4), one, ten, out=tmp_path)
    again.resume()
    assert (one.value, ten.value) == (3, 30)


def test_a_key_of_ones_own_does_not_depend_on_the_order(tmp_path: Path):
    trainer(batches(4), Named(1, "ones"), Named(10, "tens"), out=tmp_path).fit(steps=3)
    one, ten = Named(1, "ones"), Named(10, "tens")
    trainer(batches(4), Count(5), ten, one, out=tmp_path).resume()
    assert (one.value, ten.value) == (3, 30)


def test_a_class_called_like_one_of_ours(tmp_path: Path):
    trainer(batches(4), Metrics(1), out=tmp_path).fit(steps=3)
    mine = Metrics(1)
    again = trainer(batches(4), mine, out=tmp_path)
    again.resume()
    assert mine.value == 3
    assert again.fit(steps=5).step == 5


def test_a_state_that_nobody_takes_is_not_dropped(tmp_path: Path):
    trainer(batches(4), Count(1), Count(10), out=tmp_path).fit(steps=3)
    with pytest.raises(CheckpointError, match=r"FX1202 callbacks\.Count#2: the callbacks changed") as caught:
        trainer(batches(4), Count(1), out=tmp_path).resume()
    assert "a callback with a state; found nothing" in str(caught.value)
    one = Count(1)
    trainer(batches(4), one, out=tmp_path).resume(allow_changed=True)
    assert one.value == 3


def test_a_new_callback_begins_anew(tmp_path: Path):
    trainer(batches(4), Count(1), out=tmp_path).fit(steps=3)
    late = Count(10)
    trainer(batches(4), Count(1), late, out=tmp_path).resume()
    assert late.value == 0


def test_a_state_that_is_no_json(tmp_path: Path):
    class Keep(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"mean": torch.ones(2)}

    with pytest.raises(UserError, match=r"FX1704 callbacks\.Keep\.state_dict: .* cannot be saved") as caught:
        trainer(batches(4), Keep(), out=tmp_path).fit(steps=1)
    assert "expected JSON data; found Object of type Tensor" in str(caught.value)


def test_a_slow_first_step_says_nothing_of_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr("flexit.runtime.train.callbacks.progress.time.monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    progress, run = ProgressBar(console, line_every=0.0), SimpleNamespace(step=0, steps=1000, model=None)
    progress.start(run)  # pyright: ignore[reportArgumentType]
    for number in range(1, 11):
        now[0] += 60.0 if number == 1 else 0.5
        progress.after_step(run, Step(number, {"loss": 1.0}, 1.0, 100, 1e-3))  # pyright: ignore[reportArgumentType]
    first, *_, last = console.file.getvalue().splitlines()
    assert first.endswith("16:39:00 left")
    assert last.endswith("200 tokens/s  8:15 left")
    rows = Step(11, {"loss": 1.0}, 1.0, 100, 1e-3, shapes=({"input_ids": (100, 7), "labels": (100,)},))
    progress.after_step(run, rows)  # pyright: ignore[reportArgumentType]
    assert " rows/s " in console.file.getvalue().splitlines()[-1]
