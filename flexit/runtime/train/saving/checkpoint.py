"""Checkpoint folders: written whole, found again, verified, and removed only when newer ones are safe."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import flexit
from flexit.errors import CheckpointError, ResourceError, UserError
from flexit.files.folder import disk_errors, locked, recover, remove_tree, sweep, sweep_files, write_file, writing
from flexit.files.ours import is_ours, strangers
from flexit.ir.io.places import ADAPTER, WEIGHTS
from flexit.ir.passes.lora import beside
from flexit.runtime.adapters.lora import adapter_in
from flexit.runtime.train.resources.asked import NOW
from flexit.runtime.train.saving.identity import MARKER as RUN
from flexit.runtime.train.saving.saved_steps import LATEST, NAME, checkpoints, latest, regular, step_of

MARKER = "training/state.json"
AVERAGE = "ema"
"""Folder in a checkpoint with the mean of the weights, a checkpoint of its own but for the state of training."""
FAILURES, FAILURE = "failures", "failure.json"
"""Folder in a run folder with updates that were not finite, and the file that marks the folder of each."""
BEGUN = {
    "checkpoints", "metrics.jsonl", "timing.jsonl", "samples.jsonl", "statistics.jsonl", "trackers.json", "tensorboard",
    "environment.json", FAILURES, NOW,
}  # fmt: skip
"""What a run in Python has before its first checkpoint."""
ENCODED = re.compile(r"(data|held-out)(-[0-9]+)?")
"""Folders of a run folder with encoded data."""
WRITTEN = (
    "config.yaml", "spec.yaml", "metrics.jsonl", "timing.jsonl", "samples.jsonl", "statistics.jsonl", "trackers.json",
    "environment.json", "cost.json",
)  # fmt: skip
"""Single files of a run folder."""
_KEPT = {"step", "tokens", "position", "optimizer", "rates", "validation_loss", "callbacks", "identity", "files"}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a checkpoint holds besides the weights.

    Attributes:
        state: JSON data, with ``step`` among it.
        optimizer: tensors.
        random: tensors.
        files: further files by name (``spec.json``, ``tokenizer.json``, ...), as text.
        average: a copy of the model with the mean of its weights.
    """

    state: Mapping[str, Any]
    optimizer: Mapping[str, Tensor]
    random: Mapping[str, Tensor]
    files: Mapping[str, str]
    average: nn.Module | None = None


def save(folder: Path, model: nn.Module, contents: Contents) -> Path:
    """Write ``folder/step-NNNNNN``, durably; then ``LATEST`` beside ``folder`` names it.

    Raises:
        ResourceError: FX1304, the disk refused; older checkpoints and LATEST are as they were.
    """
    target = place_of(folder, contents.state["step"])
    with telling_what_is_left(folder, target):
        _write(target, model, contents)
        write_file(folder.parent / LATEST, f"{target.name}\n")
    return target


def place_of(folder: Path, step: int) -> Path:
    """The checkpoint of a step."""
    return folder / f"step-{step:06d}"


def _write(target: Path, model: nn.Module, contents: Contents) -> None:
    with writing(target, marker=MARKER, force=True) as temporary:
        (temporary / "training").mkdir()
        _save_weights(model, temporary)
        _save(contents.optimizer, temporary / "training" / "optimizer.safetensors")
        _save(contents.random, temporary / "training" / "random.safetensors")
        places = [temporary]
        if contents.average is not None:
            places.append(temporary / AVERAGE)
            places[-1].mkdir()
            _save_weights(contents.average, places[-1])
        for file, text in contents.files.items():
            for place in places:
                (place / file).write_text(text, encoding="utf-8")
        written = sorted(path for path in temporary.rglob("*") if path.is_file() and not path.name.startswith("."))
        hashes = {path.relative_to(temporary).as_posix(): _sha256(path) for path in written}
        state = {"flexit": flexit.__version__, **contents.state, "files": hashes}
        (temporary / MARKER).write_text(json.dumps(state, indent=1), encoding="utf-8")


def read_state(folder: Path) -> dict[str, Any]:
    """The JSON data of a checkpoint whose files all fit their hashes.

    Raises:
        CheckpointError: FX1201, a file is missing or has changed.
    """
    recover(folder)
    try:
        state = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        missing = _KEPT - set(state)
        if missing or type(state["step"]) is not int:
            raise ValueError(f"no {', '.join(sorted(missing)) or 'whole step'} in {MARKER}")
        for name, digest in state["files"].items():
            if _sha256(folder / name) != digest:
                raise ValueError(f"{name} has changed")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError.of(
            "FX1201", f"{folder} is no whole checkpoint", expected="every file as it was written", found=str(error),
            cure="use another checkpoint",
        ) from error  # fmt: skip
    return state


@contextmanager
def telling_what_is_left(folder: Path, target: Path) -> Iterator[None]:
    """Let a refusal of the disk to write something say which checkpoint is whole, from which the run goes on.

    Args:
        folder: of the checkpoints.
        target: what is written.

    Raises:
        ResourceError: FX1304.
    """
    try:
        with disk_errors(target):
            yield
    except ResourceError as error:
        whole = next(filter(_is_whole, checkpoints(folder)[::-1]), None)
        left = "the run has no checkpoint yet" if whole is None else f"{whole} is whole, and the run goes on from it"
        raise ResourceError(replace(each, cure=f"{each.cure}; {left}") for each in error.problems) from error


def _is_whole(folder: Path) -> bool:
    try:
        read_state(folder)
    except UserError:
        return False
    return True


def require_whole(folder: Path) -> None:
    """Refuse a checkpoint of a run whose files do not fit their hashes; a folder of weights alone has none.

    Raises:
        CheckpointError: FX1201, a file is missing or has changed.
    """
    if (folder / MARKER).is_file():
        read_state(folder)


def read_tensors(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Optimizer and random states."""
    return load_file(folder / "training" / "optimizer.safetensors"), load_file(
        folder / "training" / "random.safetensors"
    )


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def read_average(folder: Path) -> dict[str, Tensor] | None:
    """The mean of the weights, if a checkpoint has it."""
    files = (folder / AVERAGE / name for name in (ADAPTER, WEIGHTS))
    return next((load_file(file) for file in files if file.is_file()), None)


def read_weights(model: nn.Module, folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, which fit a model.

    Raises:
        CheckpointError: FX1202, names or shapes differ.
    """
    own = learned_of(model)
    file = folder / (WEIGHTS if adapter_in(model) is None else ADAPTER)
    saved = load_file(file) if file.is_file() else {}
    shapes = [{name: list(value.shape) for name, value in each.items()} for each in (saved, own)]
    different = sorted(name for name in {*saved, *own} if shapes[0].get(name) != shapes[1].get(name))
    if different:
        there, here = ([f"{name} {each.get(name, 'missing')}" for name in different[:5]] for each in shapes)
        raise CheckpointError.of(
            "FX1202", f"{folder} is of another model",
            expected=f"the {len(own)} arrays of this model, among them {', '.join(here)}",
            found=f"{', '.join(there)} ({len(different)} differ)",
            cure="train the model of the checkpoint, or start anew",
        )  # fmt: skip
    return saved


def copy_weights(saved: Mapping[str, Tensor], model: nn.Module) -> None:
    """Copy weights that fit into a model."""
    with torch.no_grad():
        for name, value in learned_of(model).items():
            value.copy_(saved[name])


def learned_of(model: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint keeps of a model: its weights, or what its adapter has learnt."""
    adapter, weights = adapter_in(model), weights_of(model)
    return weights if adapter is None else {name: weights[name] for name in adapter.names}


def _save_weights(model: nn.Module, folder: Path) -> None:
    adapter, weights = adapter_in(model), weights_of(model)
    if adapter is None:
        _save(weights, folder / WEIGHTS)
        return
    _save(learned_of(model), folder / ADAPTER)
    if adapter.base is None:
        beside_them = {name for path in adapter.targets for name in beside(path)}
        _save({name: value for name, value in weights.items() if name not in beside_them}, folder / WEIGHTS)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved buffers by name, each storage once (tied names after the first are left out)."""
    kept = set(model.state_dict())
    return {
        name: value.detach() for name, value in (*model.named_parameters(), *model.named_buffers()) if name in kept
    }  # fmt: skip


def name_latest(path: Path) -> None:
    """Let ``LATEST`` name a whole checkpoint, which a kill may have left unnamed."""
    if latest(path.parent) != path:
        write_file(path.parent.parent / LATEST, f"{path.name}\n")


def may_be_run(out: Path) -> bool:
    """Whether a run may write into a folder: it is new or empty, or holds one already, if only its beginning."""
    if not out.is_dir():
        return not out.exists()
    if is_ours(out, RUN) or any(is_ours(path, MARKER) for path in checkpoints(out / "checkpoints")):
        return True
    return {path.name for path in out.iterdir()} <= BEGUN and not checkpoints(out / "checkpoints")


def tidy(folder: Path) -> None:
    """Remove what a killed run left in its folder, and in that of its checkpoints. The run's lock must be held."""
    if folder.parent.is_dir():
        sweep_files(folder.parent, (LATEST, RUN, *WRITTEN))
        for lock in [*folder.parent.glob("*.lock")]:
            if ENCODED.fullmatch(lock.stem):  # of a writer that was killed when it was done
                with locked(lock.with_suffix("")):
                    pass
    for parent, marker in ((folder, MARKER), (folder.parent / FAILURES, FAILURE)):
        if not parent.is_dir():
            continue
        for lock in parent.glob("step-*.lock"):
            if NAME.fullmatch(lock.stem):
                with locked(lock.with_suffix("")):
                    pass
        sweep(parent, marker)


def newest_whole(
    folder: Path, *, every: int = 1, aside: bool = False
) -> tuple[Path, dict[str, Any], list[CheckpointError]] | None:
    """The newest checkpoint whose files fit their hashes, its state, and why newer ones were passed over.

    A whole one that ``LATEST`` does not name yet counts too.

    Args:
        folder: of the checkpoints.
        every: only those of steps that it divides.
        aside: rename the damaged ones to ``step-NNNNNN.damaged``, for who holds the folder. Without a whole one nothing
            is touched, so that the next start is refused as well.

    Raises:
        CheckpointError: FX1201, there are checkpoints and all are damaged.
    """
    damaged: dict[Path, CheckpointError] = {}
    for path in regular(folder, every)[::-1]:
        try:
            state = read_state(path)
        except CheckpointError as error:
            damaged[path] = error
            continue
        for each in damaged if aside else ():
            each.rename(each.with_name(f"{each.name}.damaged"))
        return path, state, list(damaged.values())
    if damaged:
        cure = "put its files back from a copy, or begin anew in another out"
        raise CheckpointError(replace(each, cure=cure) for error in damaged.values() for each in error.problems)
    return None


def tidied(folder: Path) -> tuple[Path, dict[str, Any], list[CheckpointError]] | None:
    """:func:`newest_whole` of a run folder that is put in order before, as its only writer.

    Raises:
        UserError: FX1303, somebody else writes it; FX1201, there are checkpoints and all are damaged.
    """
    with locked(folder.parent):
        tidy(folder)
        return newest_whole(folder, aside=True)


def retire(
    folder: Path, *, keep_last: int, keep_best: int, newest: Path, keep_every: int | None = None,
    keep: Iterable[Path] = (),
) -> list[Path]:  # fmt: skip
    """Remove checkpoints beyond the last, the best, those of every so many steps, and some others that stay.

    Call it when the newest is durable, which stays in any case. A folder stays that holds something which its
    checkpoint does not list.

    Returns:
        Those removed.
    """
    found = checkpoints(folder)
    scores = {path: score_of(path) for path in found} if keep_best else {}
    scored = sorted((score, path) for path, score in scores.items() if score is not None and math.isfinite(score))
    kept = {newest, *keep, *found[-keep_last:], *(path for _, path in scored[:keep_best])}
    if keep_every is not None:
        kept |= {path for path in found if step_of(path) and step_of(path) % keep_every == 0}
    return _removed(path for path in found if path not in kept)


def leave(folder: Path, *, after: Path) -> None:
    """Remove the checkpoints of later steps than one, which ``LATEST`` then names: a run goes back to it."""
    write_file(folder.parent / LATEST, f"{after.name}\n")
    _removed(path for path in checkpoints(folder) if step_of(path) > step_of(after))


def _removed(paths: Iterable[Path]) -> list[Path]:
    """Checkpoints that were removed: whose folders are ours, with nothing else in them."""
    gone = [path for path in paths if is_ours(path, MARKER) and not strangers(path, MARKER)]
    for path in gone:
        with disk_errors(path):
            remove_tree(path)
    return gone


def score_of(folder: Path) -> float | None:
    """The validation loss of a checkpoint, if it has one."""
    try:
        state = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return state.get("score", state.get("validation_loss"))
    except (OSError, ValueError):
        return None


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
