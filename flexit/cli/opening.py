"""What a MODEL argument means: a run folder, a checkpoint, a spec or a preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flexit.cli.checking import require_foreign
from flexit.cli.console import near, note
from flexit.convert.pretrained import Pretrained, config_at, from_pretrained, longest_in, noted_context
from flexit.convert.sources.source import is_source
from flexit.errors import UserError
from flexit.ir.analysis.cost import cost
from flexit.ir.io.load import load_spec, presets
from flexit.ir.io.places import instead_of, place_of
from flexit.lower.torch.memory import require_memory
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime import opening
from flexit.runtime.bundles.export import CURE
from flexit.runtime.opening import no_model, weights_at
from flexit.runtime.saved import read_spec, read_weights
from flexit.runtime.train.saving.saved_steps import checkpoints

__all__ = ["checkpoint_at", "evidence_rows", "exportable", "longest_at", "module_at", "weights_at"]


def checkpoint_at(path: str) -> Path | None:
    """The checkpoint that a folder is, or the newest whole one of the run that it is; None if it is neither.

    One that is passed over because it is damaged is told on standard error.

    Raises:
        CheckpointError: a damaged checkpoint, or a run whose checkpoints are all damaged.
    """
    there = checkpoints(Path(path, "checkpoints"))
    found = opening.checkpoint_at(path)
    if there and found is not None and found.name < there[-1].name:
        note(f"{there[-1].name} is damaged; {near(found)} is taken")
    return found


def exportable(
    path: str, sets: Sequence[str], *, seed: int, allow_memory: bool, family: str | None = None
) -> FlexitModule | Path | Pretrained:
    """What ``export`` takes: a checkpoint, ours or another library's, or the module of a spec with first weights.

    Raises:
        UserError: there is no such model, a family is named for one that is ours, or the predicted memory is not there.
    """
    foreign = is_source(path)
    if not foreign:
        require_foreign(path, family)
    checkpoint = Path(path) if foreign else checkpoint_at(path)
    if checkpoint is not None and sets:
        raise UserError.of(
            "FX1504", "the weights of a checkpoint fix its spec", expected="no --set", found=sets[0],
            cure="leave --set out, or export a spec", path="set",
        )  # fmt: skip
    if checkpoint is not None:
        return from_pretrained(path, family=family) if foreign else checkpoint
    if Path(path).is_dir() or not (Path(path).is_file() or path in presets()):
        raise no_model(path, "a run folder, a checkpoint folder, a spec or a preset", instead_of(path, "model"))
    spec = load_spec(path, sets=sets)
    require_memory(cost(spec).export_peak, what="exporting", cure=CURE, allow=allow_memory)
    return to_torch(spec, seed=seed, allow_memory=True)


def longest_at(path: str) -> int | None:
    """The longest row that another library's checkpoint, or one that was imported, is for; None where none is said."""
    if is_source(path):
        return longest_in(config_at(path))
    checkpoint = checkpoint_at(path)
    return None if checkpoint is None else noted_context(checkpoint)


def module_at(path: str) -> tuple[FlexitModule, Path]:
    """The module of a checkpoint or run, and the checkpoint's folder.

    Raises:
        UserError: it is neither.
    """
    checkpoint = checkpoint_at(path)
    if checkpoint is None:
        untrained = instead_of(path, "model") if place_of(path) == "run" else instead_of(path, "bundle")
        raise no_model(path, "a bundle, a run folder or a checkpoint folder", untrained)
    return to_torch(read_spec(checkpoint), read_weights(checkpoint)), checkpoint


def evidence_rows(manifest: Mapping[str, Any]) -> list[list[str]]:
    """The evidence of a bundle as a table."""
    rows = [["weights", "ONNX Runtime", "cases", "largest error", "greedy tokens", "run"]]
    for row in manifest["evidence"]["rows"]:
        tokens = row["tokens"]
        equal = f"{tokens['compared'] - tokens['different']} of {tokens['compared']}" if tokens["compared"] else ""
        way = "optimised" if row["optimised"] else "plain"
        rows.append([row["weights"], way, str(row["cases"]), f"{row['error']:.1e}", equal, row["run"]])
    return rows
