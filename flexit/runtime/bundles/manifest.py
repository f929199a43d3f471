"""The manifest of a bundle: a text from anyone, read within bounds and checked before anything relies on it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from flexit.errors import BundleError
from flexit.ir.io.places import MANIFEST, found_at, instead_of

FORMAT = 1
MAX_BYTES = 16 * 2**20
"""Ten thousand layers with two states each take 4 MiB."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a file of a bundle is called: no folder, no hidden file, nothing that a system reads otherwise."""


def _bare(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("not a bare file name")
    return name


def _model(name: str) -> str:
    if not name.endswith(".onnx"):  # ONNX Runtime reads other formats by their ending
        raise ValueError("not the name of an ONNX model")
    return _bare(name)


Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    """Fields that are read must be there and of their type; others are left alone."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    name: str
    group: str
    role: Literal["ids", "values", "vector", "mask", "position_ids", "prefix_lengths"]
    limit: Annotated[int, Field(ge=1)] | None
    slots: Annotated[int, Field(ge=1)] | None
    tokens: Annotated[int, Field(ge=1)] | None
    width: Annotated[int, Field(ge=1)] | None


class _Interface(_Part):
    inputs: list[_Entry]
    outputs: list[str]
    decoded: str | None
    why_not: str
    in_pieces: bool = False


class _State(_Part):
    path: str
    input: str | None
    output: str | None


class _Model(_Part):
    states: list[_State]


class _Tokens(_Part):
    compared: Count
    different: Count


class _Row(_Part):
    weights: str
    optimised: bool
    run: str
    cases: Count
    error: Share
    tokens: _Tokens


class _Evidence(_Part):
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    error: Share
    scope: str
    rows: list[_Row]


class _Manifest(_Part):
    flexit: str
    format: Literal[1]
    name: str
    target: Literal["portable"]
    versions: dict[str, str] = {}
    """What exported it: for people, and read by nothing."""
    interface: _Interface
    models: Annotated[dict[Annotated[str, AfterValidator(_model)], _Model], Field(min_length=1, max_length=2)]
    evidence: _Evidence
    files: dict[Annotated[str, AfterValidator(_bare)], Digest]


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """The manifest of a folder, with every field that flexit reads present and of its type.

    Raises:
        BundleError: FX1401 there is none, or none of this version; FX1403 it names a file outside the folder.
    """
    file = folder / MANIFEST
    data = _parsed(file)
    if not isinstance(data, dict) or data.get("format") != FORMAT or isinstance(data.get("format"), bool):
        raise refused("FX1401", "is no bundle of this version", expected=f"format {FORMAT}", found="another one",
                      place=file)  # fmt: skip
    try:
        _Manifest.model_validate(data)
    except ValidationError as error:
        raise _wrong_field(error, file) from None
    _require_consistent(data, file)
    return data


def refused(code: str, message: str, *, expected: str, found: str, place: Path) -> BundleError:
    """The error of a bundle that is not opened."""
    return BundleError.of(
        code, f"{place}: {message}", expected=expected, found=found, cure="export the bundle again, or copy it anew"
    )


def _parsed(file: Path) -> Any:
    def no_bundle(found: str) -> BundleError:
        cure = instead_of(file.parent, "bundle")
        if cure is None:
            return refused("FX1401", "is no bundle", expected=f"a folder with {MANIFEST}", found=found, place=file)
        return BundleError.of(
            "FX1401", f"{file.parent} is no bundle", expected=f"a folder with {MANIFEST}", found=found_at(file.parent),
            cure=cure,
        )  # fmt: skip

    try:
        data = _beginning(file)
    except (OSError, ValueError) as error:
        raise no_bundle(getattr(error, "strerror", None) or str(error)) from None
    if data is None:
        raise no_bundle("no regular file of that name")
    if len(data) > MAX_BYTES:
        raise no_bundle(f"more than {MAX_BYTES} bytes")
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        found = "no JSON: " + ("nested too deeply" if isinstance(error, RecursionError) else str(error))
        raise no_bundle(found) from None


def _beginning(file: Path) -> bytes | None:
    """As much of a regular file as a manifest may have and one byte; None of anything else."""
    if file.is_symlink() or not file.is_file():
        return None
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is there twice")
    return made


def _wrong_field(error: ValidationError, file: Path) -> BundleError:
    first = error.errors(include_url=False, include_context=False)[0]
    path = ".".join(str(part)[:60] for part in first["loc"] if part != "[key]")
    if first["type"] == "value_error":
        return refused(
            "FX1403", "names a file outside the bundle", expected="a bare file name", found=path, place=file
        )  # fmt: skip
    return refused(
        "FX1401", f"{path} is wrong", expected=first["msg"].lower(), found=f"a {type(first['input']).__name__}",
        place=file,
    )  # fmt: skip


def _require_consistent(data: Mapping[str, Any], file: Path) -> None:
    """What one part says of another."""
    interface = data["interface"]
    roles = {(entry["group"], entry["role"]) for entry in interface["inputs"]}
    read = {group for group, role in roles if role in ("ids", "values")}
    checks = {
        "models are among the files": set(data["models"]) <= set(data["files"]),
        "masks belong to inputs": {group for group, role in roles if role == "mask"} <= read,
        "what is decoded has ids or values, and a mask": interface["decoded"] is None
        or (interface["decoded"] in read and (interface["decoded"], "mask") in roles),
    }
    for what, holds in checks.items():
        if not holds:
            raise refused("FX1401", "contradicts itself", expected=what, found="otherwise", place=file)
