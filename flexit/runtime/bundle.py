"""A bundle: the deployed form of a model, one flat folder whose manifest lists every file, its hash and the evidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flexit.errors import BundleError
from flexit.runtime.folder import recover
from flexit.runtime.session import Entry, Interface

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle whose files have been checked against the manifest."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def interface(self) -> Interface:
        """Inputs and outputs of the model."""
        data = self.manifest["interface"]
        return Interface(
            inputs=tuple(Entry(**entry) for entry in data["inputs"]), outputs=tuple(data["outputs"]),
            decoded=data["decoded"], why_not=data["why_not"],
        )  # fmt: skip


def read_bundle(folder: str | Path) -> Bundle:
    """Check a folder against its manifest. This finds corruption; a manifest beside the files is no signature.

    Raises:
        BundleError: FX1401 no bundle, FX1402 a file missing, changed or unlisted, FX1403 an unsafe name or link.
    """
    path = Path(folder)
    recover(path)
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong("FX1401", "is no bundle", f"a folder with {MANIFEST}", str(error), file) from error
    if not isinstance(manifest, dict) or cast("dict[str, Any]", manifest).get("format") != FORMAT:
        raise _wrong("FX1401", "is no bundle of this version", f"format {FORMAT}", "another one", file)
    checked = cast("dict[str, Any]", manifest)
    _check_files(path, checked["files"])
    return Bundle(path, checked)


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, digest in files.items():
        file = folder / name
        if Path(name).name != name or name in (".", ".."):
            raise _wrong("FX1403", "names a file outside the bundle", "a bare file name", name, folder)
        if file.is_symlink() or not file.is_file():
            raise _wrong("FX1402", "a file is missing or no regular file", name, "nothing or a link", file)
        if sha256(file) != digest:
            raise _wrong("FX1402", "a file has changed", f"sha256 {digest[:12]}...", f"{sha256(file)[:12]}...", file)
    for file in folder.iterdir():
        if file.name != MANIFEST and file.name not in files:
            raise _wrong("FX1402", "a file is not in the manifest", ", ".join(sorted(files)), file.name, file)


def sha256(file: Path) -> str:
    """Hash of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_external_data(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse a model whose external data lies anywhere but in a listed file of the bundle.

    Raises:
        BundleError: FX1403.
    """
    import onnx
    from onnx.external_data_helper import uses_external_data

    for name in manifest["models"]:
        model = onnx.load_model(str(folder / name), load_external_data=False)
        for tensor in onnx.external_data_helper._get_all_tensors(model):  # pyright: ignore
            if uses_external_data(tensor):
                location = next(entry.value for entry in tensor.external_data if entry.key == "location")
                if location not in manifest["files"]:
                    raise _wrong("FX1403", "a model reads a file that the manifest does not list",
                                 "external data among the bundle's files", location, folder / name)  # fmt: skip


def open_bundle(folder: str | Path, *, optimise: bool = True, threads: int = 0) -> Any:
    """A session on a bundle, after its files and the places of its weights have been checked.

    Raises:
        BundleError: the folder is no sound bundle.
    """
    from flexit.runtime.ort_session import ModelFile, OrtSession

    bundle = read_bundle(folder)
    check_external_data(bundle.folder, bundle.manifest)
    files = [
        ModelFile(bundle.folder / name, tuple((state["input"], state["output"]) for state in model["states"]))
        for name, model in bundle.manifest["models"].items()
    ]
    return OrtSession(files, bundle.interface, optimise=optimise, threads=threads)


def _wrong(code: str, message: str, expected: str, *rest: Any) -> BundleError:
    found, place = rest
    return BundleError.of(
        code, f"{place}: {message}", expected=expected, found=found, cure="export the bundle again, or copy it anew"
    )
