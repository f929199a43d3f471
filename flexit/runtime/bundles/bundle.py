"""A bundle: the deployed form of a model, a flat folder whose manifest lists every file, its hash and the evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

from flexit.files.folder import recover
from flexit.ir.misfits import unusable, whole_number
from flexit.runtime.bundles.external_data import External, Malformed, external_data
from flexit.runtime.bundles.manifest import MANIFEST, read_manifest, refused
from flexit.runtime.sessions.interface import Entry, Interface
from flexit.runtime.sessions.session import Session

MOST_THREADS = 1024


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle whose files have been checked against the manifest."""

    folder: Path
    manifest: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Bundle({str(self.folder)!r}, name={self.manifest['name']!r}, models={list(self.manifest['models'])})"

    @property
    def interface(self) -> Interface:
        """Inputs and outputs of the model."""
        data = self.manifest["interface"]
        return Interface(
            inputs=tuple(Entry(**entry) for entry in data["inputs"]), outputs=tuple(data["outputs"]),
            decoded=data["decoded"], why_not=data["why_not"], in_pieces=data.get("in_pieces", False),
        )  # fmt: skip


def read_bundle(folder: str | Path) -> Bundle:
    """Check a folder against its manifest. This finds corruption; a manifest beside the files is no signature.

    Raises:
        BundleError: FX1401 no bundle, FX1402 a file missing, changed or unlisted, FX1403 an unsafe name or link.
    """
    if not isinstance(cast("object", folder), str | PathLike):
        raise unusable("folder", folder, expected="the path of a bundle", cure="give the folder that an export wrote")
    path = Path(folder)
    recover(path)
    manifest = read_manifest(path)
    try:
        _check_files(path, manifest["files"])
    except OSError as error:
        raise refused(
            "FX1402", "a file cannot be read", expected="the files of the manifest", found=error.strerror or str(error),
            place=Path(error.filename or path),
        ) from error  # fmt: skip
    return Bundle(path, manifest)


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for file in folder.iterdir():
        if file.name != MANIFEST and file.name not in files:
            raise refused("FX1402", "a file is not in the manifest", expected=", ".join(sorted(files)),
                          found=file.name, place=file)  # fmt: skip
    for name, digest in files.items():
        file = folder / name
        if file.is_symlink() or not file.is_file():
            raise refused("FX1402", "a file is missing or no regular file", expected=name, found="nothing or a link",
                          place=file)  # fmt: skip
        found = sha256(file)
        if found != digest:
            raise refused("FX1402", "a file has changed", expected=f"sha256 {digest[:12]}...",
                          found=f"{found[:12]}...", place=file)  # fmt: skip


def sha256(file: Path) -> str:
    """Hash of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_external_data(bundle: Bundle) -> None:
    """Refuse a model whose external data lies anywhere but in a listed file of the bundle.

    Raises:
        BundleError: FX1403 another place, FX1404 the bytes are no model.
    """
    for name in bundle.manifest["models"]:
        file = bundle.folder / name
        try:
            places = external_data(file.read_bytes())
            sizes = {listed: (bundle.folder / listed).stat().st_size for listed in bundle.manifest["files"]}
        except (OSError, Malformed) as error:
            raise refused(
                "FX1404", "a model cannot be used", expected="ONNX as flexit writes it", found=str(error), place=file
            ) from error  # fmt: skip
        for place in places:
            _require_inside(place, sizes, file)


def _require_inside(place: External, sizes: Mapping[str, int], file: Path) -> None:
    if place.location not in sizes:
        raise refused(
            "FX1403", "a model reads a file that the manifest does not list",
            expected="external data among the bundle's files", found=place.location, place=file,
        )  # fmt: skip
    size, end = sizes[place.location], place.offset + (place.length or 0)
    if end > size:
        raise refused(
            "FX1403", f"a model reads beyond the end of {place.location}", expected=f"at most {size} bytes",
            found=f"{end} bytes", place=file,
        )  # fmt: skip


def open_bundle(folder: str | Path, *, optimise: bool = True, threads: int = 0) -> Session:
    """A session on a bundle, after its files and the places of its weights have been checked.

    Raises:
        BundleError: FX1401 to FX1404, the folder is no sound bundle.
        UserError: FX2007, ``threads`` is no number of threads.
    """
    threads = whole_number("threads", threads, low=0, high=MOST_THREADS)
    return session_on(read_bundle(folder), optimise=optimise, threads=threads)


def session_on(bundle: Bundle, *, optimise: bool = True, threads: int = 0) -> Session:
    """A session on a bundle whose files have been checked.

    Raises:
        BundleError: FX1403 or FX1404, a model in it is unsafe or unusable.
    """
    from flexit.runtime.sessions.ort_session import ModelFile, OrtSession

    check_external_data(bundle)
    files = [
        ModelFile(bundle.folder / name, tuple((state["input"], state["output"]) for state in model["states"]))
        for name, model in bundle.manifest["models"].items()
    ]
    return OrtSession(files, bundle.interface, optimise=optimise, threads=threads)
