"""The model of a run: found by name, checked against the task and the data, built with first or given weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flexit.errors import Problem, RunConfigError, UserError
from flexit.files.folder import recover
from flexit.ir.analysis.cost import position_limit
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import load_spec, presets
from flexit.ir.language.written import Node
from flexit.ir.passes.freeze import freeze
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.ir.wording import nearest
from flexit.runtime.adapters.lora import Adapter, adapter_of
from flexit.runtime.saved import WEIGHTS, read_spec, read_weights
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.data.vocabulary import Tokenizer
from flexit.runtime.train.optimisation import freezing
from flexit.runtime.train.optimisation.groups import idle
from flexit.runtime.train.optimisation.selection import selected
from flexit.runtime.train.read import fault, placed_fault
from flexit.runtime.train.update.loss import ROUTERS


@dataclass(frozen=True, slots=True)
class Model:
    """What is to be trained.

    Attributes:
        spec: the spec, overrides applied.
        program: what it computes, branches of LoRA among it.
        weights: file of first weights, or None where they are drawn.
        adapter: what the branches are, if there are any.
    """

    spec: Spec
    program: Program
    weights: Path | None
    adapter: Adapter | None = None

    def load_weights(self) -> Mapping[str, Any] | None:
        """First weights by path, or None."""
        return None if self.weights is None else read_weights(self.weights.parent)


def find_model(config: RunConfig, root: Node, base: Path) -> Model:
    """The model that a run config names, fit for its task and data.

    Args:
        config: the run config.
        root: the tree it came from.
        base: folder that paths are relative to.

    Raises:
        RunConfigError: FX1501 there is none, FX1502 to FX1504, FX1508, FX0801 it does not fit.
        SpecError: its spec is not valid.
        CheckpointError: FX1201, the folder is no checkpoint.
    """
    place = base / config.model
    recover(place)
    if config.model and place.is_dir():
        model = _from_checkpoint(place, config, root)
    elif place.is_file() or config.model in presets():
        spec = load_spec(place if place.is_file() else config.model, sets=config.set)
        model = Model(spec, compile_spec(spec), None)
    else:
        near = nearest(config.model, presets())
        raise RunConfigError([
            fault(
                root, "FX1501", "model", message="no spec, preset or checkpoint of this name",
                expected=f"a file or folder beside the run config, or one of the presets {', '.join(presets())}",
                found=config.model or "an empty text",
                cure=f"write {near}" if near else f"correct the path; {place} was looked for",
            )
        ])  # fmt: skip
    problems = [*freezing.misfits(config.freeze, model.program, root)]
    if not problems:
        frozen = selected(config.freeze, model.program.params())
        model = replace(model, program=freeze(model.program, frozen))
        if config.lora is not None:
            model = _adapted(model, config, root)
        problems = [*_misfits(model, config, root)]
    if problems:
        raise RunConfigError(problems)
    return model


def _adapted(model: Model, config: RunConfig, root: Node) -> Model:
    """The model with branches of low rank.

    Raises:
        RunConfigError: FX1525, it has no weights, or something is frozen besides; FX2210, nothing can be adapted.
    """
    assert config.lora is not None
    if config.freeze or (model.weights is None and config.weights_from is None):
        path, found = ("freeze", "freeze and lora") if config.freeze else ("lora", f"the spec {config.model}")
        cure = "delete freeze" if config.freeze else "name a checkpoint in model, or write weights_from"
        raise RunConfigError([
            fault(
                root, "FX1525", path, message="all that has no branch is frozen already"
                if config.freeze else "there are no weights for branches to stand beside",
                expected="lora alone" if config.freeze else "a model that has learnt", found=found, cure=cure,
            )
        ])  # fmt: skip
    try:
        adapter = adapter_of(model.program, config.lora)
    except UserError as error:
        raise RunConfigError(
            fault(
                root, problem.code, problem.path, message=problem.message, expected=problem.expected,
                found=problem.found, cure=problem.cure,
            )
            for problem in error.problems
        ) from None  # fmt: skip
    return replace(model, program=adapter.program(model.program), adapter=adapter)


def _from_checkpoint(folder: Path, config: RunConfig, root: Node) -> Model:
    if config.set:
        raise RunConfigError([
            fault(
                root, "FX1504", "set", message="a checkpoint's spec is fixed by its weights", expected="no overrides",
                found=", ".join(config.set), cure="delete set, or start from a spec",
            )
        ])  # fmt: skip
    spec = read_spec(folder)
    return Model(spec, compile_spec(spec), folder / WEIGHTS)


def _misfits(model: Model, config: RunConfig, root: Node) -> Iterator[Problem]:
    """What of the run config does not fit the model."""
    program = model.program
    found = [*config.task.misfits(program)]
    if found:
        yield from (placed_fault(root, "task", each) for each in found)
        return
    limit = position_limit(program)
    if limit is not None and config.data.seq_len > limit:
        yield fault(
            root, "FX1503", "data.seq_len", message="longer than the model's table of positions",
            expected=f"at most {limit}", found=str(config.data.seq_len), cure=f"set data.seq_len to {limit} or less",
        )  # fmt: skip
    for file, rows in config.task.rows(program).items():
        path = config.task.tokenizers[file]
        tokenizer = config.data.tokenizer if path == "data.tokenizer" else getattr(config.task, path.partition(".")[2])
        if tokenizer is not None and tokenizer.wanted() > rows:
            yield _too_many(root, path, tokenizer, rows=rows)
    for index, covered in idle(config.optimizer.groups, program.params()):
        group = config.optimizer.groups[index]
        said = ", ".join(f"{key}: {value}" for key in ("match", "role") if (value := getattr(group, key)) is not None)
        near = nearest(group.match or "", [param.path for param in program.params()])
        example = f", such as {near}" if near else ""
        yield fault(
            root, "FX1522", f"optimizer.groups.{index}",
            message="earlier entries have every parameter that this one means" if covered else "means no parameter",
            expected=f"at least one of the model's parameters{example}", found=said or "neither match nor role",
            cure="move it before them, or delete it" if covered
            else "correct it; flexit show lists the blocks, whose paths parameter names begin with",
        )  # fmt: skip
    weights = {f"losses.{name}": getattr(config.losses, name) for name in ("router_balance", "router_z")}
    if not any(name.endswith(ROUTERS) for name in program.root.side):
        yield from (
            fault(
                root, "FX1508", path, message="the model routes nothing",
                expected=f"a model with side outputs {ROUTERS}", found=f"none in {model.spec.name}",
                cure=f"delete {path}",
            )
            for path, weight in weights.items()
            if weight
        )  # fmt: skip


def _too_many(root: Node, path: str, tokenizer: Tokenizer, *, rows: int) -> Problem:
    wanted = tokenizer.wanted()
    said = getattr(tokenizer, "vocab_size", None) is not None
    fewer = f"set {path}.vocab_size to {rows} or less, or " if said and rows >= tokenizer.fewest else ""
    return fault(
        root, "FX1502", f"{path}.vocab_size" if said else path, message="more tokens than the model has rows for",
        expected=f"at most {rows}, the rows of the model's table",
        found=str(wanted) if said else f"{wanted}, the fewest of this kind",
        cure=f"{fewer}give the model a vocab_size of {wanted} or more",
    )  # fmt: skip
