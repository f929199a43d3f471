"""The weights that a run begins with: drawn, those of a checkpoint, or those of another model, which go into the run
folder once, so that the run needs that model no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flexit.errors import RunConfigError, UserError
from flexit.ir.compile import compile_spec
from flexit.ir.language.written import Node
from flexit.runtime.opening import weights_at
from flexit.runtime.saved import WEIGHTS, read_arrays
from flexit.runtime.train import checkpoint
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.model import Model
from flexit.runtime.train.read import fault
from flexit.runtime.train.task import TOKENIZER
from flexit.runtime.transfer import report
from flexit.runtime.transfer.options import WeightsFrom
from flexit.runtime.transfer.plan import Side, plan
from flexit.runtime.transfer.transfer import transfer

START = "start"
"""Folder in a run folder with the weights that the run began with, where they are of another model."""


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
        plan(Side(spec, compile_spec(spec)), Side(model.spec, model.program), origin)
    except UserError as error:
        raise RunConfigError(
            fault(
                root, problem.code, "weights_from", message=f"{problem.path} {problem.message}".strip(),
                expected=problem.expected, found=problem.found, cure=_in_yaml(problem.cure),
            )
            for problem in error.problems
        ) from None  # fmt: skip


def first_weights(
    config: RunConfig, model: Model, *, base: Path, files: Mapping[str, str], tell: Callable[[str], None] | None
) -> Mapping[str, Any] | None:
    """First weights by path, or None where they are drawn.

    Args:
        config: the run config.
        model: that of the run.
        base: folder that paths are relative to.
        files: what goes into checkpoints, the tokenizer among it.
        tell: called with each line of what became of the tensors of another model, if anybody listens.
    """
    if config.weights_from is None:
        return model.load_weights()
    out = base / config.out
    start = out / START
    if not checkpoint.checkpoints(out / "checkpoints"):
        _write(config.weights_from, model, place=base / config.weights_from.path, start=start, files=files,
               seed=config.seed, tell=tell)  # fmt: skip
    return read_arrays(start / WEIGHTS)


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
