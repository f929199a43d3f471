"""From the text of a run config to typed data, read by the readers of specs and as strictly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from flexit.errors import Problem, RunConfigError, SpecError
from flexit.ir.block import Fault
from flexit.ir.diagnostics import problem
from flexit.ir.faults import in_order, placed
from flexit.ir.io.languages import RUN_CONFIG, cure_for_spec, mistaken
from flexit.ir.io.load import presets
from flexit.ir.io.migrate import migrate
from flexit.ir.io.overrides import parsed
from flexit.ir.io.places import RUN as MARKER
from flexit.ir.io.source import read_bytes
from flexit.ir.io.yaml import read
from flexit.ir.language.annotations import FieldType, GroupOf
from flexit.ir.language.variation import MergeRefused, merge
from flexit.ir.language.written import Node, dotted
from flexit.ir.schema.phase import explained
from flexit.ir.wording import nearest, several
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.data_faults import data_faults
from flexit.runtime.train.evaluation.evaluation_faults import evaluation_faults

DOCUMENT = FieldType((GroupOf(RunConfig),))


def read_config(path: str | Path, *, sets: Sequence[str] = ()) -> tuple[RunConfig, Node]:
    """The run config in a file, and the tree it came from, for the places of later problems.

    Args:
        path: a YAML or JSON file.
        sets: overrides such as ``steps=200`` or ``optimizer.lr=1e-3``.

    Raises:
        RunConfigError: it is not valid; every problem of the phase that failed is in it.
    """
    try:
        _require_file(str(path))
        data = read_bytes(Path(path))
    except SpecError as error:
        raise RunConfigError(error.problems) from None
    return parse_config(data, str(path), sets=sets)


def parse_config(data: str | bytes, file: str = "<text>", *, sets: Sequence[str] = ()) -> tuple[RunConfig, Node]:
    """Like :func:`read_config`, of a text."""
    try:
        root = read(data, file, wanted=RUN_CONFIG)
        for text in sets:
            root = _merged(root, text)
    except SpecError as error:
        raise RunConfigError(error.problems) from None
    current = mistaken(root, RUN_CONFIG) or migrate(root)
    if isinstance(current, Problem):
        raise RunConfigError([current])
    try:
        config = RunConfig.model_validate(current.plain())
    except ValidationError as error:
        raise RunConfigError(in_order(explained(error, DOCUMENT, current))) from None
    problems = in_order(faults(config, current))
    if problems:
        raise RunConfigError(problems)
    return config, current


def fault(root: Node, code: str, path: str, *, message: str, expected: str, found: str, cure: str) -> Problem:
    """A problem at the place of a dotted path, or at the key that lacks it.

    Args:
        root: the document.
        code: of the problem.
        path: such as ``schedule.warmup`` or ``optimizer.groups.0``.
        message: what is wrong.
        expected: what would be right.
        found: what is there.
        cure: what to do.
    """
    node, left = root.find(tuple(int(key) if key.isdigit() else key for key in path.split(".")))
    where = dotted((*node.path, *left))
    problem = Problem(code=code, path=where, message=message, expected=expected, found=found, cure=cure)
    return placed(problem, (node.key or node.mark) if left else node.mark)


def placed_fault(root: Node, path: str, found: Fault) -> Problem:
    """A fault of a part of the run config, at its place."""
    return fault(
        root, found.code, f"{path}.{found.field}" if found.field else path, message=found.message,
        expected=found.expected, found=found.found, cure=found.cure,
    )  # fmt: skip


def faults(config: RunConfig, root: Node) -> Iterator[Problem]:
    """What is wrong with fields that are right by themselves."""
    if (config.evaluate is None) != (config.data.validation is None):
        here, lacks = ("data.validation", "evaluate") if config.evaluate is None else ("evaluate", "data.validation")
        example = "evaluate: {every: 200}" if lacks == "evaluate" else "validation: {split: 0.05} under data"
        yield fault(
            root, "FX1505", here, message=f"has no effect without {lacks}", expected="both of them, or neither",
            found=f"no {lacks}", cure=f"add {example}, or delete {here}",
        )  # fmt: skip
    for place, wrong in (
        *(("optimizer", wrong) for wrong in config.optimizer.misfits()),
        *(("schedule", wrong) for wrong in config.schedule.misfits(config.steps)),
    ):
        yield fault(
            root, wrong.code, f"{place}.{wrong.field}", message=wrong.message, expected=wrong.expected,
            found=wrong.found, cure=wrong.cure,
        )  # fmt: skip
    yield from _best(config, root)
    yield from (placed_fault(root, path, each) for path, each in evaluation_faults(config))
    yield from _kept(config, root)
    yield from _data(config, root)


def _data(config: RunConfig, root: Node) -> Iterator[Problem]:
    data, task = config.data, config.task
    yield from (placed_fault(root, path, each) for path, each in data_faults(config))
    if data.validation is not None and (data.validation.split is None) == (data.validation.source is None):
        yield fault(
            root, "FX1505", "data.validation", message="not one way to hold data out",
            expected="either split or source", found="neither" if data.validation.split is None else "both",
            cure="write validation: {split: 0.05}",
        )  # fmt: skip
    for name in ("z_loss", "chunk"):
        if getattr(config.losses, name) and not task.scores:
            yield fault(
                root, "FX1510", f"losses.{name}", message=f"has no effect on {task.kind}, which has no scores",
                expected="nothing", found=str(getattr(config.losses, name)), cure=f"delete losses.{name}",
            )  # fmt: skip
    if task.kind == "contrastive" and config.batch.size < 2:
        yield fault(
            root, "FX1510", "batch.size", message="a text has no others to be told from", expected="at least 2",
            found="1", cure="set batch.size to 16 or more",
        )  # fmt: skip
    known = [*task.columns, *task.optional]
    for name in data.columns:
        if name not in known:
            yield fault(
                root, "FX1510", f"data.columns.{name}", message=f"{task.kind} reads no such column",
                expected=several(known), found=name, cure=f"write {nearest(name, known) or known[0]}",
            )  # fmt: skip


def _best(config: RunConfig, root: Node) -> Iterator[Problem]:
    keep, evaluate = config.checkpoint, config.evaluate
    if keep.keep_best and evaluate is None:
        yield fault(
            root, "FX1509", "checkpoint.keep_best", message="there is no best without evaluation",
            expected="evaluate and data.validation", found="neither",
            cure="add evaluate: {every: 200} and validation: {split: 0.05} under data, or delete keep_best",
        )  # fmt: skip
    elif keep.keep_best and evaluate is not None and keep.every % evaluate.every:
        yield fault(
            root, "FX1509", "checkpoint.keep_best", message="checkpoints fall between evaluations",
            expected=f"checkpoint.every a multiple of evaluate.every, {evaluate.every}", found=str(keep.every),
            cure=f"set checkpoint.every to {max(1, keep.every // evaluate.every) * evaluate.every}",
        )  # fmt: skip


def _kept(config: RunConfig, root: Node) -> Iterator[Problem]:
    keep = config.checkpoint
    if keep.keep_every is not None and keep.keep_every % keep.every:
        yield fault(
            root, "FX1509", "checkpoint.keep_every", message="no checkpoint falls on these steps",
            expected=f"a multiple of checkpoint.every, {keep.every}", found=str(keep.keep_every),
            cure=f"set checkpoint.keep_every to {max(1, keep.keep_every // keep.every) * keep.every}",
        )  # fmt: skip


def _require_file(name: str) -> None:
    """Say what to do with a preset and with a run folder, where a run config is asked for."""
    if name in presets() and not Path(name).exists():
        refused = problem(
            "FX0110", path="", message="this is a preset, not a run config", found=f"the spec {name}",
            expected=f"a file with {several(RUN_CONFIG.keys)}", cure=cure_for_spec(name),
        )  # fmt: skip
    elif Path(name, MARKER).is_file():
        refused = problem(
            "FX0110", path="", message="this is a run folder, not a run config", found=f"a folder with {MARKER}",
            expected=f"a file with {several(RUN_CONFIG.keys)}",
            cure="give the run config that the run began with, whose out is this folder",
        )  # fmt: skip
    else:
        return
    raise RunConfigError([refused.at(name, None, None)])


def _merged(root: Node, text: str) -> Node:
    """The document with an override ``path=value`` merged in."""
    node = parsed(text, cure="write it as steps=200 or optimizer.lr=1e-3")
    try:
        return merge(root, node, DOCUMENT)
    except MergeRefused as error:
        refused = Problem(
            code="FX0607", path=dotted(error.new.path), message="a mapping cannot be merged into this value",
            expected="the full form, with every key written", found=str(error.old.value), cure="write the whole value",
        )  # fmt: skip
        raise RunConfigError([placed(refused, error.new.mark)]) from None
