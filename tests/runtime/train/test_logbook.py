"""What a run folder says of how a run was carried out: an entry per start, and the cost of its model."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from flexit.errors import UserError
from flexit.ir.analysis.cost import cost
from flexit.ir.io.load import load_spec
from flexit.runtime.runs.folder import RunFolder
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.logbook import Entry, starts
from flexit.runtime.train.resources.machine import git_state
from flexit.runtime.train.run import train
from tests.runtime.train.plain import batches, trainer


def git(folder: Path, *arguments: str) -> str:
    person = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *person, "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Failing(Callback):
    def after_step(self, trainer: Any, step: Any) -> None:
        raise UserError.of("FX1704", "no more", expected="-", found="-", cure="-")


def test_each_start_has_an_entry(
    tmp_path: Path, write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "first")
    config = write_config(seed="7", steps="4", schedule="constant")
    train(config, progress=False)
    metrics = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    (one,) = starts(tmp_path / "run") or []
    assert (one["outcome"], one["from_step"], one["to_step"], one["seed"]) == ("finished", 0, 4, 7)
    assert one["git"] == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    assert one["versions"]["torch"] == version("torch") and one["versions"]["tokenizers"] == version("tokenizers")
    assert one["machine"]["threads"] == 1 and one["machine"]["device"] == "cpu" and one["machine"]["processor"]
    assert one["started"] <= one["ended"]
    train(config, progress=False)
    assert len(starts(tmp_path / "run") or []) == 1, "a finished run is not touched"

    (tmp_path / "file").write_text("b")
    with pytest.raises(UserError, match="no more"):
        train(config, sets=["steps=8"], allow_changed=True, callbacks=[Failing()], progress=False)
    _, two = starts(tmp_path / "run") or []
    assert (two["outcome"], two["from_step"], two["git"]["dirty"]) == ("failed: FX1704 no more", 4, True)
    assert RunFolder(tmp_path / "run").state == "failed"
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes().startswith(metrics)


def test_the_cost_of_the_model(tmp_path: Path, write_config: Callable[..., Path]) -> None:
    train(write_config(steps="4", schedule="constant"), progress=False)
    found = json.loads((tmp_path / "run" / "cost.json").read_text())
    module = sum(parameter.numel() for parameter in _model().parameters())
    assert found["parameters"] == module
    rows = 4 * 2
    forward = cost(load_spec("tiny-llama", sets=["blocks.embed.vocab_size=300"]), batch=rows, seq=16).flops
    assert found["flops_per_update"] == 3 * forward
    assert found["flops_per_token"] == pytest.approx(3 * forward / (rows * 16))


def _model() -> torch.nn.Module:
    from flexit.lower.torch.module import to_torch

    return to_torch(load_spec("tiny-llama", sets=["blocks.embed.vocab_size=300"]))


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_a_damaged_file_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text("{")
    assert starts(tmp_path) is None
    Entry(tmp_path, seed=0, device=torch.device("cpu"))
    assert len(starts(tmp_path) or []) == 1
    assert (tmp_path / "environment.damaged").read_text() == "{"


def test_a_trainer_in_python_has_entries_too(tmp_path: Path) -> None:
    class Stopping(Callback):
        def after_step(self, trainer: Any, step: Any) -> None:
            if step.number == 3:
                trainer.stop(by="a test")

    out = tmp_path / "run"
    made = trainer(batches(4), Stopping(), out=out, seed=5)
    made.fit(steps=2)
    (one,) = starts(out) or []
    assert (one["outcome"], one["from_step"], one["to_step"], one["seed"]) == ("finished", 0, 2, 5)
    assert RunFolder(out).state == "finished"
    made.fit(steps=4)
    assert (starts(out) or [])[1]["outcome"] == "stopped by a test"
    assert RunFolder(out).state == "interrupted"
    again = trainer(batches(4), Failing(), out=out, seed=5)
    again.resume()
    with pytest.raises(UserError, match="no more"):
        again.fit(steps=4)
    assert [(each["outcome"], each["from_step"]) for each in starts(out) or []][2:] == [("failed: FX1704 no more", 3)]
    assert RunFolder(out).state == "failed"


def test_a_start_that_fails_at_once_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no more"):
        trainer(batches(4), Failing(), out=tmp_path / "run").fit(steps=2)
    trainer(batches(4), out=tmp_path / "run").fit(steps=2)
    assert len(starts(tmp_path / "run") or []) == 2
