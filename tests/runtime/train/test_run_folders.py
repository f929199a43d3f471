"""A run writes into folders that are new or its own, and removes of them what it wrote and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flexit.errors import CheckpointError, UserError
from flexit.files.folder import locked, recover
from flexit.runtime.train.callbacks.metrics import cut_back
from flexit.runtime.train.run import train
from flexit.runtime.train.saving.checkpoint import checkpoints, latest, may_be_run, retire, tidy
from flexit.runtime.train.saving.identity import read_identity


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def put(path: Path, text: str = "mine") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def step(folder: Path, number: int, **more: str) -> Path:
    """A checkpoint of one file, with others that its state does not list."""
    path = folder / f"step-{number:06d}"
    put(path / "training" / "state.json", json.dumps({"flexit": "1", "files": {"model.safetensors": ""}}))
    for name in ("model.safetensors", *more):
        put(path / name)
    return path


@pytest.mark.parametrize("marker", ['{"name": "an application"}', "[]", "mine", None])
def test_a_folder_of_the_users_is_not_written_into(
    write_config: Callable[..., Path], tmp_path: Path, marker: str | None
):
    for name in ("config.yaml", "spec.yaml", "LATEST", "metrics.jsonl", "checkpoints/step-000001/mine"):
        put(tmp_path / "run" / name)
    if marker is not None:
        put(tmp_path / "run" / "run.json", marker)
    before = files_in(tmp_path / "run")
    with pytest.raises(UserError) as caught:
        train(write_config(), progress=False)
    assert caught.value.code == "FX1302"
    assert files_in(tmp_path / "run") == before


@pytest.mark.slow
def test_texts_of_the_users_in_the_folder_of_the_corpus(write_config: Callable[..., Path], tmp_path: Path):
    train(write_config(steps="4"), progress=False)
    put(tmp_path / "run" / "data" / "more.txt")
    put(tmp_path / "corpus" / "new.py")
    with pytest.raises(UserError, match=r"more\.txt beside what flexit wrote") as caught:
        train(write_config(), allow_changed=True, progress=False)
    assert caught.value.code == "FX1302"
    assert (tmp_path / "run" / "data" / "more.txt").read_text() == "mine"


def test_checkpoints_with_files_of_the_users_stay(tmp_path: Path):
    step(tmp_path, 1)
    step(tmp_path, 2, **{"notes.txt": ""})
    put(tmp_path / "step-000003" / "notes.txt")
    newest = step(tmp_path, 4)
    assert retire(tmp_path, keep_last=1, keep_best=0, newest=newest) == [tmp_path / "step-000001"]
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000002", "step-000003", "step-000004"]
    assert (tmp_path / "step-000002" / "notes.txt").read_text() == "mine"


def test_tidying_touches_no_file_of_the_users(tmp_path: Path):
    step(tmp_path, 1)
    step(tmp_path, 9).rename(tmp_path / "step-000002.old")
    put(tmp_path / "step-by-step.lock")
    put(tmp_path / "step-000003.tmp-1" / "notes.txt")
    before = files_in(tmp_path)
    tidy(tmp_path)
    assert files_in(tmp_path) == before


def test_which_folders_may_hold_a_run(tmp_path: Path):
    assert may_be_run(tmp_path / "new")
    put(tmp_path / "file")
    assert not may_be_run(tmp_path / "file")
    (tmp_path / "begun" / "checkpoints").mkdir(parents=True)
    assert may_be_run(tmp_path / "begun")
    put(tmp_path / "begun" / "metrics.jsonl")
    assert may_be_run(tmp_path / "begun")
    put(tmp_path / "begun" / "notes.txt")
    assert not may_be_run(tmp_path / "begun")
    step(tmp_path / "begun" / "checkpoints", 1)
    assert may_be_run(tmp_path / "begun")
    put(tmp_path / "keras" / "checkpoints" / "step-000001" / "weights.h5")
    assert not may_be_run(tmp_path / "keras")
    put(tmp_path / "app" / "run.json", "{}")
    assert not may_be_run(tmp_path / "app")
    put(tmp_path / "ours" / "run.json", '{"flexit": 1}')
    assert may_be_run(tmp_path / "ours")


@pytest.mark.parametrize(
    ("out", "code"),
    [("/", "FX1302"), ('"//"', "FX1302"), ('"a\\0b"', "FX0101"), ('"\\ud800"', "FX0101"), ("a" * 300, "FX1304")],
)
def test_names_that_no_run_folder_can_have(write_config: Callable[..., Path], tmp_path: Path, out: str, code: str):
    config = write_config(out=out)
    before = files_in(tmp_path)
    with pytest.raises(UserError) as caught:
        train(config, progress=False)
    assert caught.value.code == code
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", ["/", "a\0b", "\ud800", "//"])
def test_names_that_no_folder_can_have(name: str):
    assert recover(name) is False
    with pytest.raises(UserError, match="FX1302"), locked(name):
        pass


@pytest.mark.parametrize("data", [b"", b"\xff\0", b"step-000001", b"step-000001\n\n", b"step-000002\n"])
def test_a_note_of_the_newest_that_names_none(tmp_path: Path, data: bytes):
    newest = step(tmp_path / "checkpoints", 1)
    (tmp_path / "LATEST").write_bytes(data)
    assert latest(tmp_path / "checkpoints") is None
    (tmp_path / "LATEST").write_bytes(b"step-000001\n")
    assert latest(tmp_path / "checkpoints") == newest
    (tmp_path / "LATEST").unlink()
    (tmp_path / "LATEST").mkdir()
    assert latest(tmp_path / "checkpoints") is None


def test_lines_that_are_no_metrics(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 2.5}\n\xff\n{"\xff": 1}\n[1]\n{"step": "1"}\n{"loss": 1}\n'
                     + b"[" * 5000 + b'\n{"step": 2}\n{"step": 3}\n{"step": 1')  # fmt: skip
    cut_back(path, 2)
    assert path.read_bytes() == b'{"step": 1, "loss": 2.5}\n{"step": 2}\n'


@pytest.mark.parametrize(
    "text", ["[]", "3", '"x"', "null", "{", "\xff", '{"flexit": 1, "identity": [1]}', '{"identity": 1}', "[" * 5000]
)
def test_notes_of_a_run_that_are_none(tmp_path: Path, text: str):
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError) as caught:
        read_identity(tmp_path)
    assert caught.value.code == "FX1201"
    assert "attribute" not in str(caught.value)


@pytest.mark.slow
def test_a_run_goes_on_whatever_was_written_into_its_notes(write_config: Callable[..., Path], tmp_path: Path):
    run = tmp_path / "run"
    train(write_config(steps="4"), progress=False)
    (run / "LATEST").write_bytes(b"\xff\0")
    assert train(write_config(steps="4"), progress=False).step == 4
    assert (run / "LATEST").read_text() == "step-000004\n"
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff")
    assert train(write_config(steps="6"), allow_changed=True, progress=False).step == 6
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()][-1] == 6
    for identity in ({}, {"config": 3, "spec": []}, {"config": {"data": []}}):
        put(run / "run.json", json.dumps({"flexit": "1", "identity": identity}))
        assert train(write_config(steps="6"), allow_changed=True, progress=False).step == 6
    put(run / "run.json", json.dumps({"flexit": "1", "identity": {"config": 3}}))
    with pytest.raises(CheckpointError, match="FX1202"):
        train(write_config(steps="6"), progress=False)


def test_what_a_kill_left_of_a_small_file_goes(write_config: Callable[..., Path], tmp_path: Path):
    config = write_config(steps="4", checkpoint="{every: 2}", evaluate="{every: 4}", schedule="constant")
    train(config, progress=False)
    left, others = tmp_path / "run" / "LATEST.tmp-5259-0", ("notes.tmp-1-0", "LATEST.tmp-mine")
    for name in (left.name, *others):
        (tmp_path / "run" / name).write_text("step-00")
    train(config, sets=["steps=6"], allow_changed=True, progress=False)
    assert not left.exists()
    assert all((tmp_path / "run" / name).exists() for name in others)
