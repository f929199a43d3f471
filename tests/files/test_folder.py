"""Folders are whole after a kill at any system call, a full disk, a second writer."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from flexit.errors import FlexitError, ResourceError, UserError
from flexit.files import folder as folders
from flexit.files.folder import PARTIAL, locked, recover, writing

MARKER = "manifest.json"

WRITER = textwrap.dedent("""
    import os, shutil, signal, sys
    from pathlib import Path
    from flexit.files.folder import writing

    target, left = Path(sys.argv[1]), int(sys.argv[2])

    def deadly(function):
        def call(*args, **kwargs):
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call

    with writing(target, marker="manifest.json", force=True) as folder:
        for name in ("open", "fsync", "rename", "unlink", "mkdir", "rmdir", "write", "ftruncate", "replace"):
            setattr(os, name, deadly(getattr(os, name)))
        for name in ("a.bin", "deep/b.bin"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("new")
        (folder / "manifest.json").write_text('{"flexit": "new", "files": ["a.bin", "deep/b.bin"]}')
    os.close(os.open("/dev/null", os.O_RDONLY))
    print("through")
""")


def write(target: Path, text: str, *, force: bool = False) -> None:
    with writing(target, marker=MARKER, force=force) as folder:
        (folder / "deep").mkdir()
        (folder / "a.bin").write_text(text)
        (folder / "deep" / "b.bin").write_text(text)
        (folder / MARKER).write_text(json.dumps({"flexit": text, "files": ["a.bin", "deep/b.bin"]}))


def read(target: Path) -> str:
    """The text in a whole folder; fails on a torn one."""
    recover(target)
    texts = {(target / name).read_text() for name in ("a.bin", "deep/b.bin")}
    texts.add(json.loads((target / MARKER).read_text())["flexit"])
    names = sorted(str(path.relative_to(target)) for path in target.rglob("*"))
    assert names == ["a.bin", "deep", "deep/b.bin", MARKER]
    assert len(texts) == 1
    return texts.pop()


def spawn(target: Path, kill_at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WRITER, str(target), str(kill_at)], capture_output=True, text=True, check=False
    )


def test_writes_a_folder_and_leaves_nothing_beside_it(tmp_path: Path):
    write(tmp_path / "out", "one")
    assert read(tmp_path / "out") == "one"
    assert os.listdir(tmp_path) == ["out"]


def test_force_replaces_and_leaves_nothing_beside_it(tmp_path: Path):
    write(tmp_path / "out", "one")
    write(tmp_path / "out", "two", force=True)
    assert read(tmp_path / "out") == "two"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.slow
def test_every_system_call_may_be_the_last(tmp_path: Path):
    target = tmp_path / "out"
    seen: set[str] = set()
    for kill_at in range(1, 200):
        if not target.exists():
            write(target, "old")
        result = spawn(target, kill_at)
        if "through" in result.stdout:
            break
        assert result.returncode == -signal.SIGKILL, result.stderr
        seen.add(read(target))
        write(target, "old", force=True)
        assert sorted(os.listdir(tmp_path)) == ["out"], f"leftovers after a kill at call {kill_at}"
    else:
        pytest.fail("the writer never came through")
    assert kill_at > 15
    assert seen == {"old", "new"}


def test_kills_at_random_times(tmp_path: Path):
    loop = textwrap.dedent("""
        import sys
        sys.path.insert(0, sys.argv[2])
        from pathlib import Path
        from test_folder import write
        number = 0
        while True:
            number += 1
            write(Path(sys.argv[1]), f"text {number} " * 20_000, force=True)
            print(number, flush=True)
    """)
    target = tmp_path / "out"
    chance = random.Random(0)
    for _ in range(5):
        command = [sys.executable, "-c", loop, str(target), str(Path(__file__).parent)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
        assert read(target).startswith("text ")
    write(target, "last", force=True)
    assert os.listdir(tmp_path) == ["out"]


def test_an_exception_leaves_the_old_one(tmp_path: Path):
    write(tmp_path / "out", "one")
    with pytest.raises(KeyError, match="mine"), writing(tmp_path / "out", marker=MARKER, force=True) as folder:
        raise KeyError("mine", folder)
    assert read(tmp_path / "out") == "one"
    assert os.listdir(tmp_path) == ["out"]


def failure(target: Path) -> ResourceError | None:
    """What replacing ``target`` raises."""
    try:
        write(target, "two", force=True)
    except ResourceError as error:
        return error
    return None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("function", ["fsync", "rename", "mkdir"])
def test_a_refusal_at_any_call_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
):
    write(tmp_path / "out", "one")
    real = getattr(os, function)
    for refuse_at in range(1, 100):
        calls = 0

        def refusing(*args: object, refuse_at: int = refuse_at, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == refuse_at:
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, function, refusing)
            error = failure(tmp_path / "out")
        if error is not None:
            assert error.code == "FX1304"
            assert os.strerror(number) in str(error)
        recover(tmp_path / "out")
        if calls < refuse_at:
            assert refuse_at > 1
            break
        assert read(tmp_path / "out") in ("one", "two")
        write(tmp_path / "out", "one", force=True)
        assert os.listdir(tmp_path) == ["out"]
    else:
        pytest.fail("never came through")


def test_a_full_disk_says_so(tmp_path: Path):
    write(tmp_path / "out", "one")
    with (
        pytest.raises(ResourceError, match="No space left") as caught,
        writing(tmp_path / "out", marker=MARKER, force=True),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.problems[0].cure == "free disk space, then start again; what was there before is whole"
    assert read(tmp_path / "out") == "one"


def test_a_full_disk_reported_by_a_rust_library_says_so(tmp_path: Path):
    class RustError(Exception):
        pass

    with pytest.raises(ResourceError, match="No space left"), writing(tmp_path / "out", marker=MARKER):
        raise RustError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_what_the_block_fails_to_read_is_not_blamed_on_the_target(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere"), writing(tmp_path / "sub" / "out", marker=MARKER):
        Path("/nowhere/at/all").read_text()


def test_a_parent_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="could not be written"):
        write(tmp_path / "file" / "out", "one")


def test_without_marker_it_is_a_defect(tmp_path: Path):
    with pytest.raises(FlexitError, match=r"manifest\.json of a new folder"), writing(tmp_path / "out", marker=MARKER):
        pass
    assert os.listdir(tmp_path) == []


def test_an_existing_folder_needs_force(tmp_path: Path):
    write(tmp_path / "out", "one")
    with pytest.raises(UserError, match="exists already") as caught:
        write(tmp_path / "out", "two")
    assert caught.value.code == "FX1301"
    assert read(tmp_path / "out") == "one"


def test_an_empty_folder_counts_as_absent(tmp_path: Path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", "one")
    assert read(tmp_path / "out") == "one"


def refused(target: Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        write(target, "two", force=True)
    assert caught.value.code == "FX1302"


def test_force_never_replaces_what_is_not_ours(tmp_path: Path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / MARKER).write_text('{"name": "a web page, which has a manifest.json too"}')
    refused(tmp_path / "web", f"found {MARKER} and no {MARKER} of flexit")
    (tmp_path / "file").write_text("text")
    refused(tmp_path / "file", "found a file")
    write(tmp_path / "real", "one")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    refused(tmp_path / "link", "symbolic link")
    assert read(tmp_path / "real") == "one"


def test_force_never_replaces_home_root_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "here", "one")
    monkeypatch.chdir(tmp_path / "here")
    refused(Path(), "the current folder")
    monkeypatch.chdir(tmp_path / "here" / "deep")
    refused(tmp_path / "here", "around the current folder")
    write(tmp_path / "home", "one")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    refused(tmp_path / "home", "the home folder")
    refused(Path("/"), "around|root")


def test_a_backup_of_the_users_is_not_deleted(tmp_path: Path):
    write(tmp_path / "out", "one")
    write(tmp_path / "out.old", "my backup")
    with pytest.raises(UserError, match="in the way") as caught:
        write(tmp_path / "out", "two", force=True)
    assert caught.value.code == "FX1305"
    assert read(tmp_path / "out.old") == "my backup"


def test_a_backup_is_moved_neither_by_a_reader_nor_by_a_writer(tmp_path: Path):
    write(tmp_path / "out.old", "my backup")
    assert recover(tmp_path / "out") is False
    with pytest.raises(UserError, match="in the way") as caught:
        write(tmp_path / "out", "one")
    assert caught.value.code == "FX1305"
    assert read(tmp_path / "out.old") == "my backup"
    assert os.listdir(tmp_path) == ["out.old"]


def put(path: Path, text: str = "mine") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "sub/deep.txt", "deep/c.bin", "a.bin.bak"])
def test_force_never_replaces_what_the_marker_does_not_list(tmp_path: Path, name: str):
    write(tmp_path / "out", "one")
    put(tmp_path / "out" / name)
    listed = f"{name.partition('/')[0]}/" if name.startswith("sub") else name
    refused(tmp_path / "out", f"found {listed} beside what flexit wrote")
    assert (tmp_path / "out" / name).read_text() == "mine"
    assert os.listdir(tmp_path) == ["out"]


def test_a_copied_marker_gives_nothing_away(tmp_path: Path):
    write(tmp_path / "real", "one")
    put(tmp_path / "out" / "precious")
    put(tmp_path / "out" / MARKER, (tmp_path / "real" / MARKER).read_text())
    refused(tmp_path / "out", "found precious beside")
    for number in range(9):
        put(tmp_path / "out" / f"{number}")
    refused(tmp_path / "out", r"found \w+, \w+, \w+, \.\.\. beside")


@pytest.mark.parametrize("files", ["3", "[1]", '{"a.bin": 1, "deep": 1}', '"precious"', "null"])
def test_a_marker_lists_names_or_nothing(tmp_path: Path, files: str):
    put(tmp_path / "out" / "precious")
    put(tmp_path / "out" / MARKER, f'{{"flexit": 1, "files": {files}}}')
    refused(tmp_path / "out", "precious")


def test_a_linked_folder_is_not_ours(tmp_path: Path):
    write(tmp_path / "out", "one")
    (tmp_path / "out" / "deep").rename(tmp_path / "mine")
    (tmp_path / "out" / "deep").symlink_to(tmp_path / "mine")
    refused(tmp_path / "out", "found deep beside")
    assert (tmp_path / "mine" / "b.bin").read_text() == "one"


def test_what_came_while_the_block_ran_is_not_replaced(tmp_path: Path):
    def slowly() -> None:
        with writing(tmp_path / "out", marker=MARKER, force=True) as folder:
            put(folder / MARKER, '{"flexit": 1}')
            put(tmp_path / "out" / "notes.txt")

    write(tmp_path / "out", "one")
    with pytest.raises(UserError, match=r"notes\.txt beside"):
        slowly()
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert os.listdir(tmp_path) == ["out"]


def test_a_marker_that_leaves_out_a_file_is_a_defect(tmp_path: Path):
    def forgetful() -> None:
        with writing(tmp_path / "out", marker=MARKER) as folder:
            for name in ("deep/a.bin", "deep/b.bin", "x.bin"):
                put(folder / name)
            put(folder / MARKER, '{"flexit": 1, "files": {"deep/a.bin": "hash"}}')

    with pytest.raises(FlexitError, match=r"must list deep/b\.bin, x\.bin under 'files'"):
        forgetful()
    assert os.listdir(tmp_path) == []


def test_a_folder_of_the_users_with_the_name_of_an_unfinished_one(tmp_path: Path):
    put(tmp_path / f"out.tmp-{os.getpid()}" / "notes.txt")
    with pytest.raises(ResourceError, match="File exists"):
        write(tmp_path / "out", "one")
    assert os.listdir(tmp_path) == [f"out.tmp-{os.getpid()}"]
    assert os.listdir(tmp_path / f"out.tmp-{os.getpid()}") == ["notes.txt"]


def test_only_marked_leftovers_are_swept(tmp_path: Path):
    (tmp_path / "out.tmp-1").mkdir()
    (tmp_path / "out.tmp-1" / "notes.txt").write_text("mine")
    (tmp_path / "out.tmp-2").mkdir()
    (tmp_path / "out.tmp-2" / PARTIAL).write_text("")
    write(tmp_path / "out.tmp-3", "whole")
    write(tmp_path / "out.tmp-4", "whole, with a file of the user's")
    put(tmp_path / "out.tmp-4" / "notes.txt")
    write(tmp_path / "out", "one")
    assert sorted(os.listdir(tmp_path)) == ["out", "out.tmp-1", "out.tmp-4"]


def test_a_reader_puts_the_old_one_back(tmp_path: Path):
    write(tmp_path / "out.old", "one")
    record(tmp_path / "out.lock", pid=2**22 + 1, swapping=True)
    assert recover(tmp_path / "out") is True
    assert read(tmp_path / "out") == "one"
    assert recover(tmp_path / "out") is False
    assert recover(tmp_path / "nothing") is False


def test_a_reader_waits_for_a_live_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folders, "_PATIENCE", 0.05)
    write(tmp_path / "out.old", "one")
    with locked(tmp_path / "out") as lock:
        lock.note(swapping=True)
        with pytest.raises(UserError, match="being written") as caught:
            recover(tmp_path / "out")
    assert caught.value.code == "FX1303"
    assert read(tmp_path / "out") == "one"


def test_a_second_writer_is_told_who_writes(tmp_path: Path):
    code = textwrap.dedent("""
        import sys
        from flexit.files.folder import locked
        with locked(sys.argv[1]):
            print("held", flush=True)
            sys.stdin.readline()
    """)
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {process.pid} on ") as caught:
            write(tmp_path / "out", "two")
        assert caught.value.code == "FX1303"
        process.kill()
    write(tmp_path / "out", "two")
    assert os.listdir(tmp_path) == ["out"]


def record(path: Path, **changes: object) -> None:
    own = psutil.Process()
    data = {"host": os.uname().nodename, "pid": own.pid, "started": own.create_time(), "swapping": False}
    path.write_text(json.dumps(data | changes))


def test_locks_of_the_dead_are_taken_over(tmp_path: Path):
    record(tmp_path / "out.lock", pid=2**22 + 1)
    write(tmp_path / "out", "one")
    record(tmp_path / "out.lock", pid=1, started=1.0)
    write(tmp_path / "out", "two", force=True)
    (tmp_path / "out.lock").write_text('{"host')
    write(tmp_path / "out", "three", force=True)
    assert read(tmp_path / "out") == "three"


@pytest.mark.parametrize(
    "text",
    [
        "mine\n",
        "{}",
        "[]",
        "0",
        '{"host": "db", "port": 5432}',
        '{"pid": 1}',
        '{"host": ' * 1000,
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_lock_of_somebody_elses_stays(tmp_path: Path, text: str):
    (tmp_path / "out.lock").write_bytes(text.encode("latin-1"))
    with pytest.raises(
        UserError, match=r"no out\.lock, which is used while writing; found .*out\.lock, left"
    ) as caught:
        write(tmp_path / "out", "one")
    assert caught.value.code == "FX1305"
    assert os.listdir(tmp_path) == ["out.lock"]
    assert (tmp_path / "out.lock").read_bytes() == text.encode("latin-1")
    assert recover(tmp_path / "out") is False


def test_a_lock_that_is_no_file_is_not_opened(tmp_path: Path):
    (tmp_path / "folder.lock").mkdir()
    os.mkfifo(tmp_path / "fifo.lock")
    (tmp_path / "link.lock").symlink_to(tmp_path / "elsewhere")
    for name in ("folder", "fifo", "link"):
        (tmp_path / f"{name}.old").mkdir()
        assert recover(tmp_path / name) is False
        with pytest.raises(UserError, match="in the way"):
            write(tmp_path / name, "one")
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_that_was_replaced_while_held_stays(tmp_path: Path):
    with locked(tmp_path / "out"):
        (tmp_path / "out.lock").write_text("mine")
    assert (tmp_path / "out.lock").read_text() == "mine"


def test_torn_locks_are_taken_over(tmp_path: Path):
    for data in (b"", b"\0" * 90, b"{", b'{"host": ', b'{"host": "here", "pid": 12', b'{"host": "a"}, "pid": 1}'):
        (tmp_path / "out.lock").write_bytes(data)
        write(tmp_path / "out", "one", force=True)
        assert os.listdir(tmp_path) == ["out"]


def test_locks_of_other_hosts_are_not(tmp_path: Path):
    record(tmp_path / "out.lock", host="elsewhere")
    with pytest.raises(UserError, match="on elsewhere"):
        write(tmp_path / "out", "one")


def test_a_lock_is_not_held_twice(tmp_path: Path):
    with locked(tmp_path / "out"), pytest.raises(UserError, match="one writer at a time"):
        write(tmp_path / "out", "one")


def test_a_single_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folders.write_file(tmp_path / "LATEST", "one")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left"):
        folders.write_file(tmp_path / "LATEST", "two")
    assert (tmp_path / "LATEST").read_text() == "one"
    assert os.listdir(tmp_path) == ["LATEST"]


def test_nothing_of_the_users_is_written_over_on_the_way(tmp_path: Path):
    others = ["LATEST.tmp", "LATEST.tmp-1", f"LATEST.tmp-{os.getpid()}", f"LATEST.tmp-{os.getpid()}-0"]
    for name in others:
        (tmp_path / name).write_text("mine")
    folders.write_file(tmp_path / "LATEST", "one")
    assert {name: (tmp_path / name).read_text() for name in os.listdir(tmp_path)} == {
        "LATEST": "one", **dict.fromkeys(others, "mine"),
    }  # fmt: skip
