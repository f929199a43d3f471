"""What a run folder says: how far a run is, and whether it runs, ended, failed or was interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexit.errors import UserError
from flexit.files.folder import locked
from flexit.runtime.runs.folder import RunFolder, run_at, runs_below
from tests.runtime.runs.folders import write_run


def test_it_runs_while_its_lock_is_held(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path / "run", saved=5, outcome=None))
    with locked(run.path):
        assert run.state == "running"
    assert run.state == "interrupted"


@pytest.mark.parametrize(
    ("saved", "outcome", "state"),
    [
        (10, "finished", "finished"),
        (10, None, "finished"),
        (5, "finished", "finished"),
        (5, "stopped by SIGTERM", "interrupted"),
        (5, None, "interrupted"),
        (5, "failed: FX1701 the loss is not finite", "failed"),
        (None, "failed: FX1603 too little data", "failed"),
        (None, "finished", "interrupted"),
    ],
)
def test_states(tmp_path: Path, saved: int | None, outcome: str | None, state: str) -> None:
    assert RunFolder(write_run(tmp_path / "run", saved=saved, outcome=outcome)).state == state


def test_figures(tmp_path: Path) -> None:
    run = RunFolder(write_run(tmp_path / "run", losses=(3.0, 2.0), held_out=(2.5, 2.75), saved=10))
    assert (run.step, run.steps, run.tokens, run.parameters, run.task) == (10, 10, 80, 1234, "causal_lm")
    assert (run.last("loss"), run.last("validation_loss"), run.best("validation_loss")) == (2.0, 2.75, 2.5)


def test_runs_are_found_below_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a/one", "a/two", ".hidden/three"):
        write_run(tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert [str(run.path.relative_to(tmp_path)) for run in runs_below(tmp_path)] == ["a/one", "a/two", "b"]


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run") as refused:
        run_at(tmp_path)
    assert refused.value.code == "FX1201"
    write_run(tmp_path / "one")
    with pytest.raises(UserError, match="flexit runs lists them"):
        run_at(tmp_path)


DAMAGED = [("environment.json", "starts"), ("cost.json", "cost"), ("config.yaml", "config")]


@pytest.mark.parametrize(("file", "what"), DAMAGED)
def test_a_damaged_file_is_said(tmp_path: Path, file: str, what: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / file).write_text("[1")
    with pytest.raises(UserError, match=f"{file} cannot be read") as refused:
        getattr(RunFolder(folder), what)
    assert refused.value.code == "FX1201"
