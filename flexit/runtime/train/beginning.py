"""The weights that a run begins with: drawn, those of a checkpoint, or those of another model, which go into the run
folder once, so that the run needs that model no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from flexit.errors import CheckpointError, RunConfigError, UserError
from flexit.ir.compile import compile_spec
from flexit.ir.language.written import Node
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.adapters.folder import START, is_adapter, read_note, sha256
from flexit.runtime.adapters.modules import adapted
from flexit.runtime.opening import weights_at
from flexit.runtime.saved import WEIGHTS, read_arrays
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.model import Model
from flexit.runtime.train.optimisation.freezing import hold
from flexit.runtime.train.read import fault
from flexit.runtime.train.saving import checkpoint
from flexit.runtime.train.task import TOKENIZER
from flexit.runtime.train.update.ranks import ALONE, Ranks
from flexit.runtime.transfer import report
from flexit.runtime.transfer.options import WeightsFrom
from flexit.runtime.transfer.plan import Side, plan
from flexit.runtime.transfer.transfer import transfer


def require_origin(config: RunConfig, root: Node, *, base: Path, model: Model) -> None:
    """Raise where the weights of the other model cannot be those that a run begins with.

    Raises:
        RunConfigError: FX1524, the model has weights of its own; FX2201 to FX2206, a tensor cannot be carried over.
        UserError: there is no such model.
    """
    origin = config.weights_from
    if origin is None:
        return
    if model.weights is not None:
        raise RunConfigError([
            fault(
                root, "FX1524", "weights_from", message="the model has weights already", expected="model: a spec",
                found=f"the checkpoint {config.model}", cure="delete weights_from, or name a spec in model",
            )
        ])  # fmt: skip
    if checkpoint.checkpoints(base / config.out / "checkpoints"):
        return
    spec, _, _ = weights_at(str(base / origin.path))
    try:
        plan(Side(spec, compile_spec(spec)), Side(model.spec, compile_spec(model.spec)), origin)
    except UserError as error:
        raise RunConfigError(
            fault(
                root, problem.code, "weights_from", message=f"{problem.path} {problem.message}".strip(),
                expected=problem.expected, found=problem.found, cure=_in_yaml(problem.cure),
            )
            for problem in error.problems
        ) from None  # fmt: skip


def first_weights(
    config: RunConfig,
    model: Model,
    *,
    base: Path,
    files: Mapping[str, str],
    tell: Callable[[str], None] | None,
    ranks: Ranks = ALONE,
) -> Mapping[str, Any] | None:
    """First weights by path, or None where they are drawn.

    Args:
        config: the run config.
        model: that of the run.
        base: folder that paths are relative to.
        files: what goes into checkpoints, the tokenizer among it.
        tell: called with each line of what became of the tensors of another model, if anybody listens.
        ranks: the processes of the run, of which the first one writes what all read.
    """
    if config.weights_from is None:
        return model.load_weights()
    out = base / config.out
    start = out / START
    if not ranks.led(lambda: checkpoint.checkpoints(out / "checkpoints")):
        ranks.led(partial(
            _write, config.weights_from, model, place=base / config.weights_from.path, start=start, files=files,
            seed=config.seed, tell=tell,
        ))  # fmt: skip
    return read_arrays(start / WEIGHTS)


def first_module(
    config: RunConfig, model: Model, weights: Mapping[str, Any] | None, *, base: Path, device: torch.device
) -> FlexitModule:  # fmt: skip
    """The module that a run begins with, with what is frozen in it and its branches.

    Args:
        config: the run config.
        model: that of the run.
        weights: first weights, or None where they are drawn.
        base: folder that paths are relative to.
        device: where it lives.

    Raises:
        CheckpointError: FX2211, the run began with branches beside other weights.
    """
    if model.adapter is None:
        module = to_torch(model.spec, weights, seed=config.seed, device=device, allow_memory=True)
        hold(module, model.program)
        return module
    assert config.lora is not None and weights is not None
    out = base / config.out
    folder = out / START if config.weights_from is not None else (base / config.model)
    beside = None if config.lora.full else _reference(folder)
    _require_same_base(out, beside)
    adapter = replace(model.adapter, base=beside)
    return adapted(model.spec, model.program, adapter, weights=weights, seed=config.seed, device=device)


def _reference(folder: Path) -> dict[str, str]:
    if is_adapter(folder):
        raise UserError.of(
            "FX1525", "branches cannot stand beside branches", path="model", expected="a checkpoint with weights",
            found=f"{folder}, which has an adapter", cure=f"merge it first: flexit merge {folder} -o DIR",
        )  # fmt: skip
    return {"path": str(folder.absolute()), "sha256": sha256(folder / WEIGHTS)}


def _require_same_base(out: Path, beside: Mapping[str, str] | None) -> None:
    """Raise where a run that goes on began with branches beside other weights."""
    for path in checkpoint.checkpoints(out / "checkpoints")[-1:]:
        before = read_note(path).base if is_adapter(path) else beside
        if (before or {}).get("sha256") != (beside or {}).get("sha256"):
            raise CheckpointError.of(
                "FX2211", "the weights that the branches stand beside are others now", path=str(path),
                expected=(before or {}).get("sha256", "weights in the checkpoint"),
                found=(beside or {}).get("sha256", "weights in the checkpoint"),
                cure="put them back, or choose another out",
            )  # fmt: skip


def _write(
    origin: WeightsFrom, model: Model, *, place: Path, start: Path, files: Mapping[str, str], seed: int,
    tell: Callable[[str], None] | None,
) -> None:  # fmt: skip
    tokenizer = files.get(TOKENIZER)
    known = TOKENIZER in weights_at(str(place))[2]
    result = transfer(
        place, model.spec, options=origin, seed=seed, compared=False,
        tokenizer=tokenizer.encode() if tokenizer is not None and known else None,
    )  # fmt: skip
    result.save(start, force=True)
    if tell is not None:
        for line in (f"weights of {place}: {result.summary}", *report.changes(result.plan)):
            tell(line)


def _in_yaml(cure: str) -> str:
    """A cure of the command line as one of a run config."""
    before, is_new, pattern = cure.partition("--new ")
    return f"{before}weights_from.new: [{{match: {pattern}}}]" if is_new else cure.replace("--rename OLD=NEW", "rename")
