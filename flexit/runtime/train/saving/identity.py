"""What makes a run the same run: hashes that a resume compares before it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch

import flexit
from flexit.errors import CheckpointError, Problem
from flexit.files.folder import write_file
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import check_text
from flexit.ir.io.places import RUN as MARKER
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.runtime.train.config import RunConfig, TrainingConfig
from flexit.runtime.train.describe import config_data, spec_json

_WORDS = {
    "spec": ("the spec", "spec."),
    "config": ("the run config", ""),
    "training": ("the training config", "config."),
    "optimizer": ("the optimizer", "optimizer."),
    "frozen": ("what is frozen", ""),
    "batches": ("the number of batches of the training loader", ""),
    "callbacks": ("the callbacks", "callbacks."),
    "tokenizer": ("the tokenizer", ""),
    "data": ("the data files", ""),
    "threads": ("the number of CPU threads", ""),
    "device": ("the device", ""),
}
"""What may differ: how messages call it, and what its paths begin with."""

UNSEEN = frozenset({"out", "limit", "track", "sample", "statistics"})
"""Settings of a run config that no number of the run depends on."""
ELSEWHERE = UNSEEN | {"progress", "device"}
"""Those of a trainer, and the wish for a device, in whose place the device itself is compared."""

_ABSENT = object()

CURE = "put it back, choose another out, or go on regardless with "
UNFIT = "put it back, or choose another out: the weights of the run are of other shapes"


def identity(
    spec: Spec, config: RunConfig, *, tokenizer: str, data: str, device: torch.device
) -> dict[str, str | int | Mapping[str, Any]]:
    """What a run depends on, as JSON data. The run config without what may change, such as ``out``."""
    written = {name: value for name, value in config_data(config).items() if name not in UNSEEN}
    return {
        "spec": _sha256(spec_json(spec)), "config": written, "tokenizer": tokenizer, "data": data,
        "threads": torch.get_num_threads(), "device": device.type,
    }  # fmt: skip


def trainer_identity(
    spec: Spec | None, config: TrainingConfig, *, optimizer: Mapping[str, Any], batches: int | None,
    device: torch.device, frozen: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """The same of a trainer that was put together in Python, which knows no data and no tokenizer."""
    written = {name: value for name, value in config_data(config).items() if name not in ELSEWHERE}
    return {
        "spec": None if spec is None else _sha256(spec_json(spec)), "training": written, "optimizer": optimizer,
        "batches": batches, "threads": torch.get_num_threads(), "device": device.type,
        **({"frozen": ", ".join(frozen)} if frozen else {}),
    }  # fmt: skip


def read_identity(out: Path, marker: str = MARKER) -> Mapping[str, Any] | None:
    """What the run in a folder was started with, or None where it has not come so far.

    Args:
        out: the folder.
        marker: the file in it that says so.

    Raises:
        CheckpointError: FX1201, the note is damaged.
    """
    try:
        data: object = json.loads((out / marker).read_text(encoding="utf-8"))
        found: object = cast("dict[str, object]", data).get("identity", {}) if isinstance(data, dict) else None
        if not isinstance(found, dict):
            raise ValueError("no JSON object with the identity of a run")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError.of(
            "FX1201", f"{out / marker} cannot be read", expected="what the run was started with",
            found=getattr(error, "strerror", None) or str(error), cure="choose another out; what is there stays",
        ) from error  # fmt: skip
    return cast("dict[str, Any]", found) or None


def at(found: Mapping[str, Any], *keys: str) -> object:
    """What an identity, which may be anybody's, says at a path; None where it says nothing."""
    value: object = found
    for key in keys:
        value = cast("Mapping[str, object]", value).get(key) if isinstance(value, Mapping) else None
    return value


def write_identity(out: Path, current: Mapping[str, Any], marker: str = MARKER) -> None:
    """Note in a run folder what the run is started with."""
    write_file(out / marker, json.dumps({"flexit": flexit.__version__, "identity": current}, indent=1))


def with_specs(
    before: Mapping[str, Any], now: Mapping[str, Any], *, spec: Spec | None, file: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both with the specs in the place of their hashes where these differ, so that each difference can be told.

    Args:
        before: what the run began with.
        now: what it would go on with.
        spec: that of ``now``.
        file: the ``spec.json`` of a checkpoint of the run.
    """
    old: object = None
    if spec is not None and before.get("spec") != now["spec"]:
        with suppress(OSError, ValueError, RecursionError):  # then the hashes have to do
            old = json.loads(file.read_text(encoding="utf-8"))
    if spec is None or not isinstance(old, dict):
        return dict(before), dict(now)
    return {**before, "spec": old}, {**now, "spec": json.loads(spec_json(spec))}


def have_same_shapes(old: Any, spec: Spec) -> bool:
    """Whether the parameters of an older spec, as data, are those of a spec; true where it is no spec any more."""
    program = check_text(json.dumps(old)).program
    return program is None or _shapes(program) == _shapes(compile_spec(spec))


def _shapes(program: Program) -> dict[str, tuple[int, ...]]:
    return {param.path: tuple(param.shape) for param in program.params()}


def require_same(
    out: Path, before: Mapping[str, Any], now: Mapping[str, Any], *, how: str | None = "--allow-changed"
) -> None:  # fmt: skip
    """Raise where a run would go on with something else than it began with.

    Args:
        out: the run folder.
        before: what it began with.
        now: what it would go on with.
        how: what allows it; None where nothing does, since the weights do not fit.

    Raises:
        CheckpointError: FX1202, with every difference.
    """
    problems = [
        Problem(
            code="FX1202", path=path, message=f"{what} changed since the run in {out} began", expected=old, found=new,
            cure=UNFIT if how is None else f"{CURE}{how}",
        )
        for path, what, old, new in _differences(before, now)
    ]  # fmt: skip
    if problems:
        raise CheckpointError(problems)


def require_same_run(
    path: Path, state: Mapping[str, Any], now: Mapping[str, Any], *, spec: Spec | None, callbacks: Collection[str]
) -> None:
    """The same of a trainer that was put together in Python.

    Args:
        path: a checkpoint.
        state: its state.
        now: the identity that the run would go on with.
        spec: of its model.
        callbacks: names of the states that it would go on with.

    Raises:
        CheckpointError: FX1202, with every difference.
    """
    old, new = with_specs(state["identity"], now, spec=spec, file=path / "spec.json")
    left = [key for key, value in state["callbacks"].items() if value and key not in callbacks]
    old["callbacks"], new["callbacks"] = dict.fromkeys(left, "a callback with a state"), {}
    require_same(path.parent.parent, old, new, how="resume(allow_changed=True)")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    found: list[tuple[str, str, str, str]] = []
    for name, (what, prefix) in _WORDS.items():
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            was, is_ = _flat(old), _flat(new)
            places = sorted(path for path in {*was, *is_} if was.get(path, _ABSENT) != is_.get(path, _ABSENT))
            found += [
                (f"{prefix}{path}", what, _short(was.get(path, _ABSENT)), _short(is_.get(path, _ABSENT)))
                for path in places
            ]
        elif old != new:
            found.append(("", what, _short(old), _short(new)))
    return found


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _short(value: object) -> str:
    text = "nothing" if value is _ABSENT or value is None else str(value)
    return f"{text[:12]}..." if len(text) == 64 else text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
