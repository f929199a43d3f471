"""The space on the disk that a run needs: predicted, compared with what is free, and measured afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from flexit.errors import ResourceError
from flexit.runtime.train.config import Checkpoint
from flexit.runtime.train.data.store import predicted_size
from flexit.runtime.train.resources.disk import checkpoint_bytes, most_at_once
from flexit.runtime.train.run import make_plan, prepare, train
from flexit.runtime.train.saving.saved_steps import checkpoints
from tests.runtime.train.plain import batches, trainer


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def folder_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, count))


@pytest.mark.parametrize(
    ("settings", "steps", "count"),
    [
        ({"every": 10, "keep_last": 2}, 100, 3), ({"every": 10, "keep_last": 2}, 20, 2), ({"every": 10}, 5, 1),
        ({"every": 10, "keep_last": 1, "keep_best": 2}, 100, 4),
        ({"every": 10, "keep_last": 1, "keep_every": 20}, 100, 7), ({"every": 10, "keep_every": 10}, 100, 10),
    ],
)  # fmt: skip
def test_checkpoints_at_one_time(settings: dict[str, int], steps: int, count: int):
    assert most_at_once(Checkpoint(**settings), steps=steps) == count


@pytest.mark.slow
def test_what_is_predicted_is_what_is_written(tmp_path: Path, write_config: Callable[..., Path]):
    more = {"ema": "{decay: 0.9}", "optimizer": "{kind: sgd, momentum: 0.9}"}
    plan = make_plan(write_config(steps="4", **more))
    from flexit.runtime.train.run import _examined

    material, _ = _examined(plan)
    data = material.to_encode(plan.out)
    train(write_config(steps="4", **more), progress=False)
    (written,) = checkpoints(tmp_path / "run" / "checkpoints")
    small = sum(file.stat().st_size for file in written.rglob("*.json")) + 60_000
    each = checkpoint_bytes(plan.model.program, plan.config)
    assert each <= folder_size(written) <= each + small
    numbers = sum(file.stat().st_size for file in (tmp_path / "run" / "data").glob("*") if file.suffix != ".json")
    assert data == pytest.approx(numbers, rel=0.3)
    assert prepare(plan, allow_changed=True).to_encode(plan.out) == 0


@pytest.mark.slow
def test_a_run_that_has_no_room_is_refused_before_anything_is_encoded(
    tmp_path: Path, write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    config = write_config(steps="4", checkpoint="{every: 1, keep_last: 3, keep_best: 1}", evaluate="{every: 1}")
    free(monkeypatch, 1_000_000)
    with pytest.raises(ResourceError) as caught:
        train(config, progress=False)
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == ("FX1710", "out")
    assert "4 more checkpoints of " in problem.expected
    assert " of data" in problem.expected
    assert problem.found.startswith("976.6 KiB free where ")
    assert problem.cure.startswith(
        "lower checkpoint.keep_last, lower checkpoint.keep_best, choose another out, or free"
    )
    assert not (tmp_path / "run" / "data").exists()
    assert train(config, progress=False, allow_disk=True, sets=["steps=1", "schedule=constant"]).step == 1


def test_a_trainer_looks_too_and_counts_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    each = 3 * 4 * sum(value.numel() for value in trainer(batches(3)).model.parameters()) + 2 * 4 * 4 + 8
    settings = {"checkpoint": {"every": 1, "keep_last": 2}, "out": tmp_path / "run"}
    free(monkeypatch, 3 * each)
    trainer(batches(3), **settings).fit(steps=5)
    free(monkeypatch, each)
    more = trainer(batches(3), **settings)
    more.resume()
    assert more.fit(steps=6).step == 6
    free(monkeypatch, each - 1)
    with pytest.raises(ResourceError, match=r"FX1710 out: (.|\n)*one more checkpoint of "):
        more.fit(steps=7)
    more.allow_disk = True
    assert more.fit(steps=7).step == 7
    free(monkeypatch, 3 * each - 1)
    with pytest.raises(ResourceError, match="FX1710"):
        trainer(batches(3), **settings | {"out": tmp_path / "other"}).fit(steps=5)


def test_long_texts_are_counted_by_their_length():
    import numpy as np

    def encode(values: object, place: str) -> dict[str, np.ndarray]:
        text = values["text"]  # type: ignore[index]
        assert len(text) <= 65_536
        return {"ids": np.zeros(len(text), np.uint16)}

    records = [({"text": "a" * 1_000_000}, "one", 1_000_000), ({"text": "a" * 1_000_000}, "two", 2_000_000)]
    assert predicted_size(records, encode, size=2_000_000) == pytest.approx(4_000_000, rel=0.01)
