"""Files that are read whole: a pipe would be waited for, and a device may have no end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from flexit.errors import UserError

KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def read_regular(path: str | Path, *, expected: str) -> bytes:
    """The bytes of a regular file; links are followed, since the user named it.

    Args:
        path: the file.
        expected: what it should be, in words.

    Raises:
        UserError: FX2103, it is a pipe, a device or the like.
        OSError: the operating system refused.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe is opened without waiting for a writer
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        with os.fdopen(handle, "rb") as file:
            return file.read()
    os.close(handle)
    raise UserError.of(
        "FX2103", f"{path} is no file", path=str(path), expected=expected,
        found=KINDS.get(stat.S_IFMT(mode), "something else"), cure="write what it gives into a file, and name that",
    )  # fmt: skip
