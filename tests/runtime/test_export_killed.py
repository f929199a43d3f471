"""An export that is killed, or whose disk is full, leaves the old bundle, the new one or none: never half of one."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flexit.errors import BundleError, ResourceError
from flexit.runtime.bundles.bundle import open_bundle, read_bundle, sha256
from flexit.runtime.bundles.export import export
from tests.saved import write_checkpoint

CALLS = ("open", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "write", "ftruncate", "chmod")

EXPORTER = textwrap.dedent(f"""
    import os, signal, sys, time
    from flexit.runtime.bundles.export import export

    NAMES = {CALLS!r}

    def deadly(name, kill_at):
        real = getattr(os, name)
        def call(*args, **kwargs):
            global calls
            calls += 1
            if name == "rename" and target in (str(args[0]), str(args[1])):
                print("swap", calls, flush=True)
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call

    def run(kill_at):
        for name in NAMES:
            setattr(os, name, deadly(name, kill_at))
        export(checkpoint, target, force=True)
        print("calls", calls, flush=True)

    checkpoint, target = sys.argv[1], os.path.abspath(sys.argv[2])
    for line in sys.stdin:
        kill_at, delay = int(line.split()[0]), float(line.split()[1])
        calls = 0
        child = os.fork()
        if not child:
            code = 1
            try:
                run(kill_at)
                code = 0
            finally:
                os._exit(code)
        if delay:
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
""")


class Exporter:
    """A process that forks one export after another, and kills it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def run(self, *, kill_at: float = 0, delay: float = 0.0) -> tuple[int, dict[str, int]]:
        """One export, killed at a call to the system or after some seconds: its exit code, and what it said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{int(kill_at)} {delay}\n")
        self.process.stdin.flush()
        said: dict[str, int] = {}
        while "ended" not in said:
            name, _, number = self.process.stdout.readline().partition(" ")
            said.setdefault(name, int(number))
        return said["ended"], said


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with other weights."""
    return write_checkpoint(tmp_path_factory.mktemp("newer") / "checkpoint", seed=1)


@pytest.fixture
def exporter(newer: Path, tmp_path: Path) -> Iterator[Exporter]:
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", EXPORTER, str(newer), str(tmp_path / "out" / "bundle")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        yield Exporter(process)
        process.kill()


def weights(folder: Path) -> str:
    """Which weights a bundle has, after it was opened and run."""
    open_bundle(folder)
    return sha256(folder / "model.onnx.data")


def present(folder: Path) -> str:
    """The weights of the bundle in a folder, or the code of the refusal."""
    try:
        return weights(folder)
    except BundleError as error:
        return error.code


def require_none_half(parent: Path) -> None:
    """What can be opened in a folder has all its files; whatever else lies there is refused with a code."""
    for folder in parent.iterdir():
        if folder.is_dir():
            try:
                assert "spec.json" in read_bundle(folder).manifest["files"]
            except BundleError:
                continue


def moments(said: dict[str, int]) -> list[dict[str, float]]:
    """Ten moments to kill an export at: five inside the swap of folders, two calls before it, three times."""
    total, swap = said["calls"], said["swap"]
    chance = random.Random(7)
    inside = [swap, swap + 1, *chance.sample(range(swap + 2, total + 1), 3)]
    before = chance.sample(range(1, swap), 2)
    return [{"kill_at": at} for at in (*inside, *before)] + [{"delay": chance.uniform(0.05, 0.5)} for _ in range(3)]


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize(
    "replacing", [pytest.param(False, id="first", marks=pytest.mark.nightly), pytest.param(True, id="replacing")]
)
def test_ten_kills(exporter: Exporter, bundle: Path, checkpoint: Path, tmp_path: Path, *, replacing: bool) -> None:
    target = tmp_path / "out" / "bundle"
    if replacing:
        shutil.copytree(bundle, target)
    code, said = exporter.run()
    old, new = weights(bundle), weights(target)
    assert (code, old == new) == (0, False)
    seen: set[str] = set()
    for kill in moments(said):
        shutil.rmtree(target)
        if replacing:
            shutil.copytree(bundle, target)
        code, _ = exporter.run(**kill)
        assert code == -signal.SIGKILL, f"{kill} came too late"
        require_none_half(target.parent)
        seen.add(present(target))
        export(checkpoint, target, force=True)
        assert weights(target) == old
        assert os.listdir(target.parent) == ["bundle"], f"leftovers after {kill}"
    assert seen == ({old, new} if replacing else {"FX1401", new})


# ---- a disk that refuses


def refusing(function: Callable[..., Any], at: int, number: int) -> Callable[..., Any]:
    """The function, which refuses one of its calls."""
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(number, os.strerror(number))
        return function(*args, **kwargs)

    return call


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize(
    ("name", "at", "number"),
    [
        ("write", 1, errno.ENOSPC), ("mkdir", 2, errno.ENOSPC), ("fsync", 1, errno.EIO), ("fsync", 4, errno.ENOSPC),
        ("chmod", 2, errno.EIO), ("rename", 1, errno.EIO), ("rename", 2, errno.ENOSPC),
    ],
)  # fmt: skip
def test_a_refused_call_leaves_the_old_bundle(
    bundle: Path, newer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, name: str, at: int, number: int
) -> None:
    target = tmp_path / "out" / "bundle"
    shutil.copytree(bundle, target)
    old = weights(target)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, refusing(getattr(os, name), at, number))
        with pytest.raises(ResourceError, match=os.strerror(number)) as caught:
            export(newer, target, force=True)
    assert caught.value.code == "FX1304"
    assert weights(target) == old
    export(newer, target, force=True)
    assert os.listdir(target.parent) == ["bundle"]


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("limit", [1_000, 40_000], ids=["the model", "its weights"])
def test_files_that_may_not_grow(bundle: Path, newer: Path, tmp_path: Path, limit: int) -> None:
    """The system itself refuses, whichever library writes."""
    target = tmp_path / "out" / "bundle"
    shutil.copytree(bundle, target)
    code = textwrap.dedent(f"""
        import resource, sys
        from flexit.cli import main
        import flexit.runtime.bundles.export
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        main(sys.argv[1:])
    """)
    command = [sys.executable, "-c", code, "export", str(newer), str(target), "--force"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "FX1304" in done.stderr
    assert "Traceback" not in done.stderr
    assert weights(target) == weights(bundle)
    assert os.listdir(target.parent) == ["bundle"]
