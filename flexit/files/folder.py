"""Folders that are written whole or not at all, whatever kills the writer: bundles, checkpoints.

``X.tmp-<pid>`` is filled and made durable, ``X`` moves to ``X.old``, the new one to ``X``, ``X.old`` goes.
``X.lock`` names the writer. Readers call :func:`recover` first. Nothing here knows what is in the folder.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from flexit.errors import FlexitError, ResourceError, UserError
from flexit.files.lock import Lock, hold, holder_of, left_swapping
from flexit.files.ours import FEW, is_ours, strangers

PARTIAL = ".flexit-partial"
"""A file in every unfinished folder, so that leftovers are told from folders of the user's."""

HALF = ".tmp-"
"""What follows the name of a single file in that of its unfinished successor."""

_PATIENCE = 5.0
"""Seconds that a reader waits for a live writer to finish its swap."""


@contextmanager
def writing(folder: str | Path, *, marker: str, force: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes ``folder`` when the block ends and vanishes when it raises.

    Args:
        folder: where the result stands. Missing parents are made.
        marker: name of a JSON file that the block writes, an object with a key ``flexit``, which says that the
            folder is ours, and a key ``files`` that lists every other file (see :func:`flexit.files.ours.strangers`).
        force: replace a folder that bears such a marker and holds nothing that it does not list.

    Yields:
        The folder to write into, beside the target.

    Raises:
        UserError: FX1301 it exists; FX1302 it may not be replaced; FX1303 someone else writes it; FX1305 ``X.old`` is
            in the way.
        ResourceError: FX1304, the operating system refused (no space, no permission). The old folder is whole.
        FlexitError: the block wrote no marker, or files that it does not list.
    """
    target = _place(folder)
    _refuse_for_ever(target)
    with disk_errors(target), locked(target) as lock:
        _refuse(target, marker, force=force)
        sweep(target.parent, marker, name=target.name)
        temporary = target.with_name(f"{target.name}.tmp-{os.getpid()}")
        temporary.mkdir()
        try:
            (temporary / PARTIAL).touch()
            yield temporary
            _finish(temporary, marker)
            _refuse(target, marker, force=force)  # what came while the block ran is not ours either
            _swap(temporary, target, lock)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def require_replaceable(folder: str | Path, *, marker: str, force: bool = False) -> None:
    """Raise what :func:`writing` would raise at once, before anything lasts; nothing is held, so it looks again.

    Raises:
        UserError: FX1301, FX1302, FX1305.
        ResourceError: FX1304, the folder cannot be read.
    """
    target = _place(folder)
    _refuse_for_ever(target)
    with disk_errors(target):
        if not left_swapping(_lock(target)):
            _refuse(target, marker, force=force)


@contextmanager
def locked(folder: str | Path) -> Iterator[Lock]:
    """Be the only writer of ``folder``. A lock whose process is dead on this host is taken over, and its swap finished.

    Raises:
        UserError: FX1302, no folder can have that name; FX1303, another process (or this one) holds it; FX1305, the
            name of its lock is taken.
        ResourceError: FX1304, the lock file cannot be written.
    """
    target = _place(folder)
    with ExitStack() as stack:
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(hold(_lock(target)))
            if lock.inherited_swap:
                _settle(target)
                lock.note(swapping=False)
        yield lock


def recover(folder: str | Path) -> bool:
    """Put ``X.old`` back where a writer was killed between its two renames. Call it before reading ``X``.

    Only ``X.lock`` says that there was one: without it ``X.old`` is someone else's.

    Returns:
        Whether something was put back.

    Raises:
        UserError: FX1303, another process has been writing ``X`` for seconds and there is none yet.
        ResourceError: FX1304, the rename was refused.
    """
    target = Path(os.path.abspath(folder))
    patience = time.monotonic() + _PATIENCE
    while _torn(target):
        if holder_of(_lock(target)) is not None and time.monotonic() < patience:
            time.sleep(0.01)
            continue
        with locked(target):  # which settles it
            pass
        return True
    return False


def write_file(path: Path, data: str | bytes) -> None:
    """Replace a single file durably: a temporary beside it, fsync, rename, fsync of the folder.

    Raises:
        ResourceError: FX1304; the old file is whole.
    """
    names = (path.with_name(f"{path.name}{HALF}{os.getpid()}-{number}") for number in count())
    temporary = next(name for name in names if not os.path.lexists(name))
    with disk_errors(path):
        try:
            with temporary.open("xb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
            sync_file(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sweep_files(parent: Path, names: Collection[str]) -> None:
    """Remove the temporaries of :func:`write_file` that killed writers of some files left. Nobody may be writing."""
    for path in parent.iterdir():
        name, half, rest = path.name.rpartition(HALF)
        if half and name in names and re.fullmatch(r"\d+-\d+", rest) and path.is_file() and not path.is_symlink():
            path.unlink()


def remove_tree(folder: Path) -> None:
    """Delete a folder so that a kill half-way leaves something that no reader takes for whole."""
    doomed = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    folder.rename(doomed)
    _dispose(doomed)


def _dispose(doomed: Path) -> None:
    """Delete a folder whose mark goes last, so that what is left of it after a kill is known for ours."""
    (doomed / PARTIAL).touch()
    for path in list(doomed.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != PARTIAL:
            path.unlink()
    (doomed / PARTIAL).unlink()
    doomed.rmdir()


def sweep(parent: Path, marker: str, *, name: str | None = None) -> None:
    """Remove what killed writers left in ``parent``, of one target or of all. Their locks must be held.

    A folder that only looks like a leftover, without our mark inside, is left alone.
    """
    pattern = re.compile((re.escape(name) if name is not None else ".+") + r"\.tmp-\d+")
    for path in parent.iterdir():
        if not pattern.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        whole = is_ours(path, marker) and not strangers(path, marker)
        if (path / PARTIAL).exists() or whole or not any(path.iterdir()):
            _dispose(path)


def sync_file(path: Path) -> None:
    """Wait until a file is on the disk."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Wait until the entries of a folder are on the disk (a no-op where folders cannot be opened)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _place(folder: str | Path) -> Path:
    """The absolute path of a folder to write.

    Raises:
        UserError: FX1302, there can be none of that name.
    """
    target = Path(os.path.abspath(folder))
    try:
        reason = (
            "the root of a file system"
            if not target.name
            else "a null character"
            if b"\0" in os.fsencode(target)
            else ""
        )
    except UnicodeEncodeError:
        reason = "half of a character"
    if reason:
        raise _error("FX1302", target, "will not be written", expected="the name of a folder", found=reason,
                     cure="choose another name")  # fmt: skip
    return target


def _old(target: Path) -> Path:
    return target.with_name(f"{target.name}.old")


def _lock(target: Path) -> Path:
    return target.with_name(f"{target.name}.lock")


def _torn(target: Path) -> bool:
    """Whether a writer was killed, or is, between its two renames. Takes names that no file can have."""
    return not os.path.lexists(target) and os.path.isdir(_old(target)) and left_swapping(_lock(target))


def _missing(path: Path) -> bool:
    return not os.path.lexists(path)


def _refuse(target: Path, marker: str, *, force: bool) -> None:
    """Raise where ``target`` must not be written. An empty folder counts as absent."""
    old = _old(target)
    if not _missing(old):
        raise _error(
            "FX1305", target, f"cannot be written: {old.name} is in the way",
            expected=f"no {old.name}, which is used while replacing", found=f"{old}, left by someone else",
            cure=f"move or delete {old.name}",
        )  # fmt: skip
    if _missing(target) or not any(target.iterdir()):
        return
    others = strangers(target, marker)
    if others:
        beside = "beside what flexit wrote" if is_ours(target, marker) else f"and no {marker} of flexit"
        more = ", ..." if len(others) == FEW else ""
        raise _error(
            "FX1302", target, "will not be replaced",
            expected=f"a folder with nothing but what its {marker} lists, or a new name",
            found=f"{', '.join(others[: FEW - 1])}{more} {beside}",
            cure="choose another name, or move these files away",
        )  # fmt: skip
    if not force:
        raise _error(
            "FX1301", target, "exists already", expected="a new name", found="a folder that flexit wrote before",
            cure="add --force (in Python: force=True) to replace it, or choose another name",
        )  # fmt: skip


def _refuse_for_ever(target: Path) -> None:
    """Raise where ``target`` is what no flag makes us replace."""
    reason = "" if _missing(target) else _never(target)
    if reason:
        raise _error(
            "FX1302", target, "will not be replaced", expected="a folder that flexit wrote, or a new name",
            found=reason, cure="choose another name",
        )  # fmt: skip


def _never(target: Path) -> str:
    """Why ``target`` may never be replaced, or an empty text."""
    if target.is_symlink():
        return "a symbolic link"
    if not target.is_dir():
        return "a file"
    resolved = target.resolve()
    for place, what in ((Path.cwd(), "current"), (Path.home(), "home")):
        if resolved == place.resolve():
            return f"the {what} folder"
        if resolved in place.resolve().parents:
            return f"a folder around the {what} folder"
    return "the root of a file system" if target.is_mount() else ""


def _finish(temporary: Path, marker: str) -> None:
    """Check the marker and make everything durable, with a new file's permissions (libraries write some as 0600)."""
    mode = stat.S_IMODE((temporary / PARTIAL).stat().st_mode)
    (temporary / PARTIAL).unlink()
    if not is_ours(temporary, marker):
        raise FlexitError(f"{marker} of a new folder must be a JSON object with a key 'flexit'")
    unlisted = strangers(temporary, marker)
    if unlisted:
        raise FlexitError(f"{marker} of a new folder must list {', '.join(unlisted)} under 'files'")
    for parent, _, names in os.walk(temporary, topdown=False):
        for name in names:
            (Path(parent) / name).chmod(mode)
            sync_file(Path(parent) / name)
        sync_folder(Path(parent))


def _swap(temporary: Path, target: Path, lock: Lock) -> None:
    """Put the finished folder in place; a kill anywhere in here is settled by the next writer or reader."""
    lock.note(swapping=True)
    old = _old(target)
    try:
        if not _missing(target):
            target.rename(old)
        temporary.rename(target)
    except BaseException:
        _settle(target)
        lock.note(swapping=False)
        raise
    sync_folder(target.parent)
    if not _missing(old):
        shutil.rmtree(old)
    lock.note(swapping=False)


def _settle(target: Path) -> None:
    """Finish the swap of a writer that died in it."""
    old = _old(target)
    if _missing(old) or not old.is_dir() or old.is_symlink():
        return
    if _missing(target):
        old.rename(target)
    else:
        shutil.rmtree(old)
    sync_folder(target.parent)


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn refusals of the operating system into FX1304, also those that Rust libraries report as text."""
    try:
        yield
    except FlexitError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else _rust_errno(error)
        place = error.filename if isinstance(error, OSError) else None
        if number is None or not _near(place, target):
            raise
        raise ResourceError.of(
            "FX1304", f"{target} could not be written", expected="a disk that takes it",
            found=os.strerror(number) + (f" ({place})" if place else ""),
            cure=_cures.get(number, "look at the disk and its permissions, then start again"),
        ) from error  # fmt: skip


def _near(place: object, target: Path) -> bool:
    """Whether a refusal is about ``target`` or something above or beside it, rather than about what a block reads."""
    return place is None or Path(str(place)).is_relative_to(target.parent) or target.is_relative_to(str(place))


_cures = {
    errno.ENOSPC: "free disk space, then start again; what was there before is whole",
    errno.EDQUOT: "free disk space, then start again; what was there before is whole",
    errno.EROFS: "choose a folder on a writable disk",
    errno.EACCES: "choose a folder that you may write, or change its permissions",
    errno.EPERM: "choose a folder that you may write, or change its permissions",
}


def _rust_errno(error: Exception) -> int | None:
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found.group(1)) if found else None


def _error(code: str, target: Path, message: str, *, expected: str, found: str, cure: str) -> UserError:
    return UserError.of(code, f"{target} {message}", expected=expected, found=found, cure=cure)
