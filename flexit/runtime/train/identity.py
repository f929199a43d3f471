"""What makes a run the same run: hashes that a resume compares before it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import flexit
from flexit.errors import CheckpointError, Problem
from flexit.ir.spec import Spec
from flexit.runtime.folder import write_file
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.describe import config_data, spec_json

MARKER = "run.json"

_WORDS = {
    "spec": "the spec",
    "config": "the run config",
    "tokenizer": "the tokenizer",
    "data": "the data files",
    "threads": "the number of CPU threads",
    "device": "the device",
}


def identity(
    spec: Spec, config: RunConfig, *, tokenizer: str, data: str, device: torch.device
) -> dict[str, str | int | Mapping[str, Any]]:
    """What a run depends on, as JSON data. The run config without ``out``, which may move."""
    written = {name: value for name, value in config_data(config).items() if name != "out"}
    return {
        "spec": _sha256(spec_json(spec)), "config": written, "tokenizer": tokenizer, "data": data,
        "threads": torch.get_num_threads(), "device": device.type,
    }  # fmt: skip


def read_identity(out: Path) -> Mapping[str, Any] | None:
    """What the run in a folder was started with, or None where it has not come so far.

    Raises:
        CheckpointError: FX1201, the note is damaged.
    """
    try:
        return json.loads((out / MARKER).read_text(encoding="utf-8")).get("identity")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError.of(
            "FX1201", f"{out / MARKER} cannot be read", expected="what the run was started with", found=str(error),
            cure="choose another out; what is there stays",
        ) from error  # fmt: skip


def write_identity(out: Path, current: Mapping[str, Any]) -> None:
    """Note in a run folder what the run is started with."""
    write_file(out / MARKER, json.dumps({"flexit": flexit.__version__, "identity": current}, indent=1))


def require_same(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise where a run would go on with something else than it began with.

    Raises:
        CheckpointError: FX1202, with every difference.
    """
    problems = [
        Problem(
            code="FX1202", path=path, message=f"{what} changed since the run in {out} began", expected=old, found=new,
            cure="put it back, choose another out, or go on regardless with --allow-changed",
        )
        for path, what, old, new in _differences(before, now)
    ]  # fmt: skip
    if problems:
        raise CheckpointError(problems)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    found: list[tuple[str, str, str, str]] = []
    for name, what in _WORDS.items():
        old, new = before.get(name), now[name]
        if isinstance(old, dict) and isinstance(new, dict):
            places = sorted(path for path in {*_flat(old), *_flat(new)} if _flat(old).get(path) != _flat(new).get(path))
            found += [(path, what, str(_flat(old).get(path)), str(_flat(new).get(path))) for path in places]
        elif old != new:
            found.append(("", what, _short(old), _short(new)))
    return found


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
