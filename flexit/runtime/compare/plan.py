"""What a comparison has to run: variants with every combination of the grid, made equally large, with every seed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from flexit.errors import Problem, RunConfigError, UserError
from flexit.ir.analysis.cost import cost
from flexit.ir.analysis.sizing import Sized, figure_of, sized
from flexit.ir.io.flow import flow
from flexit.ir.io.load import load_spec
from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.ir.wording import nearest, several, shown
from flexit.runtime.compare.config import CompareConfig, Match, Value
from flexit.runtime.compare.read import read_compare, split_sets
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.describe import config_data
from flexit.runtime.train.model import find_model
from flexit.runtime.train.read import fault, read_config

RUNS, DATA = "runs", "data"
ALONE = "base"
"""The name of the run config as it is."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is compared.

    Attributes:
        name: of the variant, with the values of the grid.
        config: its run config; ``model`` and ``set`` are those of the case.
        sets: what it has of its own, sizes that were solved included.
        spec: its spec.
        parameters: trained numbers.
        flops: of a forward, for each token.
        sized: how its size was matched, if it was.
        rows: of its tables, which say whether cases share encoded data.
    """

    name: str
    config: RunConfig
    sets: tuple[str, ...]
    spec: Spec
    parameters: int
    flops: float
    sized: Sized | None
    rows: str

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return folder_of(self.name)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A compare file that has passed every check which needs no data.

    Attributes:
        config: what the user wrote.
        out: its folder.
        base: folder of the run config, which paths in it are relative to.
        cases: what is compared.
    """

    config: CompareConfig
    out: Path
    base: Path
    cases: tuple[Case, ...]


def folder_of(name: str) -> str:
    """The name of the folder of a case."""
    return re.sub(r"[^A-Za-z0-9._+=-]+", "-", name)


def plan(path: str | Path) -> Comparison:
    """Read a compare file, its run config and all models.

    Raises:
        UserError: any of them is not valid, or the runs could not be compared.
    """
    config, root = read_compare(path)
    here = Path(path).absolute().parent
    run = here / config.run
    drafts = [_draft(each, config.set, run=run, here=here) for each in _named(config)]
    _require_different(drafts, root)
    _require_comparable(config, drafts, root)
    cases = [_case(draft, None) for draft in drafts]
    if config.match is not None:
        cases = _matched(config.match, drafts, cases, root=root)
    return Comparison(config, Path(os.path.normpath(here / config.out)), run.parent, tuple(cases))


@dataclass(frozen=True, slots=True)
class _Draft:
    """A case whose size is not settled."""

    name: str
    config: RunConfig
    root: Node
    base: Path
    sets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Named:
    """A variant with a combination of the grid: its name, its model if it has one of its own, its overrides."""

    name: str
    model: str | None
    sets: tuple[str, ...]


def _named(config: CompareConfig) -> Iterator[_Named]:
    """Each variant with each combination of the grid."""
    variants = {name: (each.model, each.set) for name, each in config.variants.items()} or {"": (None, list[str]())}
    labels = _labels(list(config.grid))
    for name, (model, sets) in variants.items():
        for values in product(*config.grid.values()):
            point = [f"{place}={_text(value)}" for place, value in zip(config.grid, values, strict=True)]
            said = [f"{labels[place]}={value}" for place, value in zip(config.grid, values, strict=True)]
            yield _Named(" ".join([*filter(None, [name]), *said]) or ALONE, model, (*sets, *point))


def _labels(places: Sequence[str]) -> dict[str, str]:
    """The last key of each place, or all of it where two end alike."""
    last = [place.rpartition(".")[2] for place in places]
    return {place: key if last.count(key) == 1 else place for place, key in zip(places, last, strict=True)}


def _text(value: Value) -> str:
    """A value as an override has it: texts are YAML already."""
    return value if isinstance(value, str) else flow(value)


def _draft(wanted: _Named, common: Sequence[str], *, run: Path, here: Path) -> _Draft:
    of_spec, of_run = split_sets([*common, *wanted.sets])
    try:
        config, root = read_config(run, sets=of_run)
        chosen, base = (config.model, run.parent) if wanted.model is None else (wanted.model, here)
        named = str(base / chosen) if chosen and (base / chosen).exists() else chosen
        config = config.model_copy(update={"model": named, "set": [*config.set, *of_spec]})
        find_model(config, root, run.parent)
    except UserError as error:
        problems = [replace(each, message=f"{wanted.name}: {each.message}") for each in error.problems]
        raise type(error)(problems) from None
    return _Draft(wanted.name, config, root, run.parent, wanted.sets)


def _case(draft: _Draft, size: Sized | None) -> Case:
    config = draft.config
    if size is not None:
        config = config.model_copy(update={"set": [*config.set, *size.sets]})
    model = find_model(config, draft.root, draft.base)
    seq = config.data.seq_len
    needs = cost(model.program, batch=1, seq=seq)
    rows = "-".join(str(rows) for rows in config.task.rows(model.program).values())
    extra = () if size is None else size.sets
    return Case(
        draft.name, config, (*draft.sets, *extra), model.spec, needs.parameters, needs.flops / seq, size, rows
    )  # fmt: skip


def _matched(match: Match, drafts: Sequence[_Draft], cases: Sequence[Case], *, root: Node) -> list[Case]:
    to = next((case for case in cases if case.name == match.to), None) if match.to is not None else cases[0]
    if to is None:
        names = [case.name for case in cases]
        raise RunConfigError([
            fault(
                root, "FX2301", "match.to", message="no variant of this name", expected=f"one of {several(names)}",
                found=shown(match.to), cure=f"write {nearest(match.to or '', names) or names[0]}",
            )
        ])  # fmt: skip
    seq = to.config.data.seq_len
    wanted = figure_of(to.spec, by=match.by, seq=seq)
    found: list[Case] = []
    for draft, case in zip(drafts, cases, strict=True):
        if case is to or figure_of(case.spec, by=match.by, seq=seq) == wanted:
            found.append(replace(case, sized=Sized((), case.spec, wanted, wanted)))
            continue
        if (Path(draft.config.model)).is_dir():
            raise RunConfigError([
                fault(
                    root, "FX2303", "match", message=f"{draft.name} starts from a checkpoint, whose size is fixed",
                    expected="variants that start from specs", found=draft.config.model, cure="delete match",
                )
            ])  # fmt: skip
        size = sized(_loader(draft.config), wanted, by=match.by, vary=match.vary, seq=seq, where=draft.name)
        found.append(_case(draft, size))
    return found


def _loader(config: RunConfig) -> Any:
    """The spec of a config with further overrides."""

    def load(sets: Sequence[str]) -> Spec:
        return load_spec(config.model, sets=[*config.set, *sets])

    return load


def _require_different(drafts: Sequence[_Draft], root: Node) -> None:
    folders = [folder_of(draft.name).lower() for draft in drafts]
    twice = next((draft.name for draft, folder in zip(drafts, folders, strict=True) if folders.count(folder) > 1), None)
    if twice is not None:
        raise RunConfigError([
            fault(
                root, "FX2301", "variants", message="two variants would have one folder", found=shown(twice),
                expected="names that differ in letters or numbers", cure="rename one of them",
            )
        ])  # fmt: skip


def _require_comparable(config: CompareConfig, drafts: Sequence[_Draft], root: Node) -> None:
    first = drafts[0]
    problems: list[Problem] = []
    if first.config.evaluate is None:
        problems.append(fault(
            root, "FX2302", "run", message="the run config does not look at held-out text, which runs are compared by",
            expected="evaluate and data.validation", found="neither",
            cure="add evaluate: {every: 200} and validation: {split: 0.05} under data",
        ))  # fmt: skip
    for draft in drafts[1:]:
        one, other = _common(first.config), _common(draft.config)
        problems += [
            fault(
                root, "FX2302", "variants", message=f"{draft.name} would not be compared by its {key}",
                expected=f"that of {first.name}, {shown(one[key])[:80]}", found=shown(other[key])[:80],
                cure="compare variants with the same data, task and number of tokens",
            )
            for key in one
            if one[key] != other[key]
        ]  # fmt: skip
    if config.extrapolate and not first.config.task.joins:
        problems.append(fault(
            root, "FX2302", "extrapolate", message=f"rows of {first.config.task.kind} are as long as its records",
            expected="a task that joins documents, such as causal_lm", found=first.config.task.kind,
            cure="delete extrapolate",
        ))  # fmt: skip
    if problems:
        raise RunConfigError(problems)


def _common(config: RunConfig) -> Mapping[str, Any]:
    """What runs must have in common."""
    data = config_data(config)
    rows = config.batch.size * config.batch.accumulate
    return {
        "data": {key: value for key, value in data["data"].items() if key not in ("workers", "bucket")},
        "task": data["task"], "number of tokens": config.steps * rows * config.data.seq_len,
        "evaluate": data["evaluate"],
    }  # fmt: skip
