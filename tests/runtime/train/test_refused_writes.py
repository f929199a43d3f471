"""Each call that writes a part of a checkpoint is refused in turn: one that can be loaded is left, and told."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from flexit.errors import ResourceError
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.saving import checkpoint
from flexit.runtime.train.trainer import Trainer
from tests.runtime.train.plain import batches, trainer

NEWEST = "step-000003 is whole, and the run goes on from it"
CALLS = ("mkdir", "fsync", "rename", "replace", "chmod", "unlink", "rmdir", "write", "ftruncate")


class Disk:
    """A disk that refuses its call number ``at`` that writes, and those that follow if it ``stays`` so."""

    def __init__(self, at: int, number: int, *, stays: bool) -> None:
        self.at, self.number, self.stays, self.calls = at, number, stays, 0

    def asked(self) -> None:
        self.calls += 1
        if self.calls == self.at or (self.stays and self.calls > self.at):
            raise OSError(self.number, os.strerror(self.number))

    def refusing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.asked()
            return function(*args, **kwargs)

        return call

    def opening(self, function: Callable[..., Any], *, writes: Callable[[Any], bool]) -> Callable[..., Any]:
        def call(file: Any, how: Any = "r", *args: Any, **kwargs: Any) -> Any:
            if writes(how):
                self.asked()
            return function(file, how, *args, **kwargs)

        return call

    @contextmanager
    def mounted(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self.refusing(getattr(os, name)))
            flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT
            patch.setattr(os, "open", self.opening(os.open, writes=lambda how: bool(how & flags)))
            patch.setattr(io, "open", self.opening(io.open, writes=lambda how: bool(set("wax+") & set(how))))
            patch.setattr(Path, "write_text", self.refusing(Path.write_text))
            patch.setattr(checkpoint, "save_file", self.refusing(checkpoint.save_file))
            yield


@pytest.mark.slow
@pytest.mark.parametrize(("number", "stays"), [(errno.ENOSPC, False), (errno.EIO, False), (errno.EROFS, True)])
def test_every_call_that_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, stays: bool):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # no disk is waited for
    out, kept = tmp_path / "run", tmp_path / "kept"
    run = trainer(batches(10), out=out, checkpoint={"every": 2, "keep_last": 1}, ema={"decay": 0.5})
    run.fit(steps=2)
    shutil.copytree(out, kept)
    older = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.fit(steps=3)
    newer = {name: value.clone() for name, value in run.model.state_dict().items()}
    left, refused = set[str](), 0
    for at in range(1, 400):
        shutil.rmtree(out)
        shutil.copytree(kept, out)
        disk = Disk(at, number, stays=stays)
        try:
            with disk.mounted():
                run.save()
            told = ""  # a refusal that makes no difference, such as to make a folder that is there
        except ResourceError as error:
            told = str(error)
        if disk.calls < at:
            break
        refused += bool(told)
        if told:
            assert told.startswith("FX1304: ")
            assert os.strerror(number) in told
        said = re.search(r"step-00000\d is whole, and the run goes on from it", told or NEWEST)
        assert said is not None, told
        folder = out / "checkpoints"
        checkpoint.tidy(folder)
        found = checkpoint.newest_whole(folder)
        assert found is not None
        path, state, damaged = found
        assert not damaged
        assert said[0].startswith(path.name), f"call {at}: {told}"
        left.add(path.name)
        wanted = older if state["step"] == 2 else newer
        saved = checkpoint.read_weights(run.model, path)
        assert all(torch.equal(saved[name], wanted[name]) for name in saved)
        run.save()
        checkpoint.tidy(folder)
        assert (out / "LATEST").read_text() == "step-000003\n"
        assert [path.name for path in folder.iterdir() if path.name != "step-000002"] == ["step-000003"], f"call {at}"
    else:
        pytest.fail("it was never written")
    assert refused > 30
    assert left == {"step-000002", "step-000003"}


class Refusing(Callback):
    """From the checkpoint of a step on, the disk refuses."""

    def __init__(self, disk: Disk, patch: pytest.MonkeyPatch) -> None:
        self.disk, self.patch = disk, patch

    def after_step(self, trainer: Trainer, step: Any) -> None:
        if step.number == 4:
            self.patch.setattr(os, "fsync", self.disk.refusing(os.fsync))


@pytest.mark.parametrize("at", [1, 2, 3])
def test_metrics_that_are_not_taken_are_told_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int):
    """The first two calls of a checkpoint are those that make the metrics durable."""
    with monkeypatch.context() as patch:
        disk = Disk(at, errno.EIO, stays=False)
        run = trainer(batches(10), Refusing(disk, patch), out=tmp_path, checkpoint={"every": 2})
        with pytest.raises(ResourceError, match=r"FX1304: (.|\n)*step-000002 is whole, and the run goes on from it"):
            run.fit(steps=6)
    again = trainer(batches(10), out=tmp_path, checkpoint={"every": 2})
    assert again.resume() == []
    assert again.step == 2
    assert again.fit(steps=6).step == 6


def test_a_run_without_a_checkpoint_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = trainer(batches(10), out=tmp_path)
    (tmp_path / "checkpoints").mkdir()
    disk = Disk(1, errno.ENOSPC, stays=True)
    with disk.mounted(), pytest.raises(ResourceError, match="the run has no checkpoint yet"):
        run.save()
