"""Opening files of a folder from anyone: regular files that lie in it, and what a hub cache links to in its blobs."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from flexit.errors import SourceError
from flexit.ir.wording import cut, shown


def has_file(folder: Path, name: str) -> bool:
    """Whether the folder has an entry of that name, a link that leads nowhere included."""
    return os.path.lexists(folder / name)


def open_file(folder: Path, name: str) -> BinaryIO:
    """A file of the folder, opened for reading. ``name`` may lead through folders inside it, written with ``/``.

    Raises:
        SourceError: FX1805 it lies outside the folder, FX1806 it is no regular file, FX1807 it cannot be read.
    """
    parts = _parts(folder, name)
    for depth in range(1, len(parts)):
        between = folder.joinpath(*parts[:depth])
        if os.path.islink(between):
            raise _outside(between, f"a link to {cut(str(between.readlink()))}")
    path = folder.joinpath(*parts)
    if os.path.islink(path):
        path = _blob(path)
    return open_regular(path)


def open_regular(path: Path) -> BinaryIO:
    """A regular file, opened for reading; nothing else is opened, and no link followed.

    Raises:
        SourceError: FX1805 a link, FX1806 no regular file, FX1807 it cannot be read.
    """
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            raise _outside(path, f"a link to {cut(os.readlink(path))}")
        if stat.S_ISREG(mode):
            # What is at this place by now may be another thing: a pipe that blocks, a link.
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            mode = os.fstat(handle).st_mode
            if stat.S_ISREG(mode):
                return os.fdopen(handle, "rb")
            os.close(handle)
    except OSError as error:
        raise unreadable(path, error) from error
    raise SourceError.of(
        "FX1806", f"{path} is no file", expected="a regular file", found=_kind(mode),
        cure="copy the checkpoint anew, as plain files",
    )  # fmt: skip


def read_file(folder: Path, name: str, *, max_bytes: int) -> bytes:
    """The bytes of a file of the folder.

    Raises:
        SourceError: FX1804 there are more than ``max_bytes``; as :func:`open_file`.
    """
    with open_file(folder, name) as stream:
        try:
            data = stream.read(max_bytes + 1)
        except OSError as error:
            raise unreadable(folder / name, error) from error
        if len(data) > max_bytes:
            raise SourceError.of(
                "FX1804", f"{folder / name} is too large", expected=f"at most {max_bytes:,} bytes",
                found=f"{os.fstat(stream.fileno()).st_size:,} bytes",
                cure="see what is in the file; it is not what its name says",
            )  # fmt: skip
    return data


def seen(folder: Path) -> str:
    """What is in a folder, for messages."""
    try:
        return listed(sorted(path.name for path in folder.iterdir())) or "an empty folder"
    except OSError as error:
        return error.strerror or str(error)


def listed(names: list[str], most: int = 5) -> str:
    """The first of these names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(cut(name) for name in names[:most]) + rest


def unreadable(path: Path, error: OSError) -> SourceError:
    """The error of a file that the operating system does not read."""
    return SourceError.of(
        "FX1807", f"{path} cannot be read", expected="a file that this user may read",
        found=error.strerror or str(error), cure="look at the file, its permissions and its disk",
    )  # fmt: skip


def _parts(folder: Path, name: str) -> tuple[str, ...]:
    """The parts of a relative name.

    Raises:
        SourceError: FX1805, it is no name of a file below the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name or "\\" in name:
        raise _outside(folder, shown(name))
    return path.parts


def _blob(link: Path) -> Path:
    """The blob that a link of a hub cache leads to: ``models--org--name/snapshots/REV/**`` to ``../../blobs/*`` of it.

    Raises:
        SourceError: FX1805, the link is another one.
    """
    where = Path(os.path.realpath(link.parent))
    target = os.readlink(link)
    for snapshot in (where, *where.parents):
        repository = snapshot.parent.parent
        if snapshot.parent.name == "snapshots" and repository.name.startswith("models--"):
            blobs = repository / "blobs"
            found = Path(os.path.normpath(where / target))
            if found.parent == blobs and not os.path.islink(blobs):
                return found
            break
    raise _outside(link, f"a link to {cut(target)}")


def _outside(place: Path, found: str) -> SourceError:
    return SourceError.of(
        "FX1805", f"{place} leads out of the checkpoint",
        expected="files inside the folder; links only from snapshots/ to blobs/ of one repository of a hub cache",
        found=found, cure="copy the checkpoint into a folder of plain files, if you trust what the link leads to",
    )  # fmt: skip


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
             stat.S_IFBLK: "a device"}  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "something else")
