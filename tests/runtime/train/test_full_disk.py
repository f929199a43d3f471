"""A disk that refuses in a run of a run config: the older checkpoint stays whole, and the run goes on from it.

Each call that may be refused has its turn in ``test_refused_writes``.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexit.errors import ResourceError
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.run import train
from flexit.runtime.train.saving.checkpoint import read_state
from flexit.runtime.train.trainer import Trainer

LINES = {"steps": "8", "checkpoint": "{every: 4}", "evaluate": "{every: 8, max_batches: 1}", "log": "{every: 2}"}


class Refusing(Callback):
    """From the checkpoint of step 8 on, one call to the system fails."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, at: int, *, number: int) -> None:
        self.patch, self.name, self.left, self.number = patch, name, at, number

    def before_checkpoint(self, trainer: Trainer) -> None:
        if trainer.step == 8:
            self.patch.setattr(os, self.name, self.refusing(getattr(os, self.name)))

    def refusing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise OSError(self.number, os.strerror(self.number))
            return function(*args, **kwargs)

        return call


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "at", "number"), [("fsync", 4, errno.ENOSPC), ("rename", 1, errno.EIO)])
def test_a_refused_call_leaves_the_older_checkpoint(
    tmp_path: Path, write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, *,
    name: str, at: int, number: int,
) -> None:  # fmt: skip
    config = write_config(**LINES)
    with monkeypatch.context() as patch, pytest.raises(ResourceError, match=os.strerror(number)) as caught:
        train(config, callbacks=[Refusing(patch, name, at, number=number)], progress=False)
    assert caught.value.code == "FX1304"
    checkpoints = tmp_path / "run" / "checkpoints"
    assert read_state(checkpoints / "step-000004")["step"] == 4
    assert (tmp_path / "run" / "LATEST").read_text() == "step-000004\n"
    assert train(config, progress=False).step == 8
    assert read_state(checkpoints / "step-000008")["step"] == 8
    assert sorted(os.listdir(checkpoints)) == ["step-000004", "step-000008"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_files_that_may_not_grow(tmp_path: Path, write_config: Callable[..., Path]) -> None:
    """The system itself refuses, whichever library writes: the moments are twice as large as the weights."""
    assert train(write_config(**LINES | {"steps": "4"}), progress=False).step == 4
    before = contents(tmp_path / "run" / "checkpoints")
    code = textwrap.dedent("""
        import resource, sys
        import flexit.runtime.train.run
        from flexit.cli import main
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
        main(sys.argv[1:])
    """)
    command = [sys.executable, "-c", code, "train", str(write_config(**LINES)), "--allow-changed"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "FX1304" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(tmp_path / "run" / "checkpoints") == before
