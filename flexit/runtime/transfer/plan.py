"""What becomes of every tensor: which one of the old model each one of the new model begins as, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from flexit.errors import Problem, UserError
from flexit.ir.program import Param, Program
from flexit.ir.spec import Spec
from flexit.ir.wording import nearest
from flexit.runtime.train.optimisation.selection import selected
from flexit.runtime.transfer.axes import TABLES, Described, described
from flexit.runtime.transfer.layers import Layers, Place
from flexit.runtime.transfer.options import Options
from flexit.runtime.transfer.vocabulary import Rows, by_id
from flexit.runtime.transfer.widths import Index, grouped, index_of, is_same

What = Literal["kept", "copied", "zeroed", "pooled", "repeated", "grown", "cut", "rows", "made"]


@dataclass(frozen=True, slots=True)
class Step:
    """What one tensor of the new model begins as.

    Attributes:
        path: its name.
        shape: its lengths.
        what: ``kept`` as it was, or as it was in another layer (``copied``); ``zeroed``, so that a copied layer adds
            nothing; heads ``pooled`` or ``repeated``; ``grown`` or ``cut``; ``rows`` of tokens; ``made`` anew.
        source: the tensor of the old model, if there is one.
        before: the lengths of that.
        note: what more is to say.
        groups: heads of keys and values before and after, where they are pooled or repeated.
        indices: of each axis, where any grows, is cut or is another order of rows.
        matrix: whether its last axis is read by a matrix product.
        tokens: whether its rows are tokens.
    """

    path: str
    shape: tuple[int, ...]
    what: What
    source: str | None = None
    before: tuple[int, ...] | None = None
    note: str = ""
    groups: tuple[int, int] | None = None
    indices: tuple[Index, ...] | None = None
    matrix: bool = False
    tokens: bool = False

    @property
    def draws(self) -> bool:
        """Whether it has first values that are drawn."""
        return self.what == "made" or (self.indices is not None and any((index < 0).any() for index in self.indices))


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of every tensor.

    Attributes:
        steps: for each tensor of the new model, in its order.
        dropped: tensors of the old model that none of the new one begins as, with their lengths.
        rows: of tokens, if the vocabulary is another.
    """

    steps: tuple[Step, ...]
    dropped: Mapping[str, tuple[int, ...]]
    rows: Rows | None


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models."""

    spec: Spec
    program: Program


def rows_of_tokens(program: Program) -> int | None:
    """Rows of the first table of tokens."""
    return next((param.shape[0] for param in program.params() if param.role == "embedding"), None)


def plan(old: Side, new: Side, options: Options, *, rows: Rows | None = None) -> Plan:
    """What becomes of every tensor.

    Args:
        old: the model that has weights.
        new: the model that gets them.
        options: how.
        rows: of tokens, where both vocabularies are known.

    Raises:
        UserError: FX2201 to FX2206, with every tensor that cannot be said.
    """
    planner = _Planner(old, new, options, rows=rows)
    problems = [*planner.misfits()]
    if problems:
        raise UserError(problems)
    steps = [planner.step(param) for param in new.program.params()]
    problems = [step for step in steps if isinstance(step, Problem)]
    if problems:
        raise UserError(problems)
    found = tuple(step for step in steps if isinstance(step, Step))
    used = {step.source for step in found}
    if used == {None}:
        raise UserError.of(
            "FX2206", "the two models have no tensor in common", path="", expected="names that both have",
            found=f"{next(iter(planner.old))} there, {found[0].path} here",
            cure="call the blocks alike, or rename them: --rename OLD=NEW",
        )  # fmt: skip
    dropped = {path: param.shape for path, param in planner.old.items() if planner.original[path] not in used}
    return Plan(found, {planner.original[path]: shape for path, shape in dropped.items()}, planner.rows)


class _Planner:
    """Works out step by step; ``old`` are the old parameters under the names that they have in the new model."""

    def __init__(self, old: Side, new: Side, options: Options, *, rows: Rows | None) -> None:
        self.sides, self.options = (old, new), options
        self.original = {_renamed(param.path, options.rename): param.path for param in old.program.params()}
        known = {param.path: param for param in old.program.params()}
        self.old: dict[str, Param] = {name: known[path] for name, path in self.original.items()}
        self.new = {param.path: param for param in new.program.params()}
        self.layers = Layers(self.old, self.new, depth=options.depth)
        self.fresh = {*selected(options.new, new.program.params())}
        self.tokens = rows_of_tokens(old.program), rows_of_tokens(new.program)
        self.rows = rows
        if rows is None and None not in self.tokens and self.tokens[0] != self.tokens[1]:
            self.rows = by_id(self.tokens[0] or 0, self.tokens[1] or 0)

    def misfits(self) -> Iterator[Problem]:
        yield from self.layers.misfits()
        for before in self.options.rename:
            names = [param.path for param in self.sides[0].program.params()]
            if not any(_begins(path, before) for path in names):
                near = nearest(before, sorted({path.partition(".")[0] for path in names}))
                yield Problem(
                    code="FX2205", path=f"rename.{before}", message="no tensor there begins so",
                    expected="the beginning of a name, such as a block", found=before,
                    cure=f"write {near}" if near else "correct it",
                )  # fmt: skip
        yield from self._twice()
        for index, entry in enumerate(self.options.new):
            if not any(entry.holds(param) for param in self.new.values()):
                near = nearest(entry.match or "", [*self.new])
                yield Problem(
                    code="FX2205", path=f"new.{index}", message="means no parameter of the new model",
                    expected=f"at least one{f', such as {near}' if near else ''}", found=entry.said, cure="correct it",
                )  # fmt: skip

    def _twice(self) -> Iterator[Problem]:
        """FX2205, for the first name that two tensors of the old model would have."""
        for param in self.sides[0].program.params():
            name = _renamed(param.path, self.options.rename)
            if self.original[name] != param.path:
                yield Problem(
                    code="FX2205", path="rename", message="two tensors there would have one name",
                    expected="a name for each", found=f"{name}, of {param.path} and {self.original[name]}",
                    cure="rename the other one too",
                )  # fmt: skip
                return

    def step(self, param: Param) -> Step | Problem:
        """What a parameter of the new model begins as."""
        place = self.layers.place(param.path)
        made = Step(param.path, param.shape, "made")
        if place.path not in self.old:
            return made if (table := self._untied(param)) is None else self._from_table(param, table, made=made)
        source = self.original[place.path]
        one, other = described(self.sides[0].spec, self.old[place.path]), described(self.sides[1].spec, param)
        there = replace(made, source=source, before=one.param.shape)
        if param.path in self.fresh:
            return replace(made, note="as was asked")
        if not one.alike(other):
            return replace(made, note=f"{_kind(one)} there, {_kind(other)} here")
        if place.added and self.options.added_layers == "identity" and self._adds(param):
            return replace(there, what="zeroed", note="the layer adds nothing at first")
        return self._carried(one, other, place=place, there=there)

    def _untied(self, param: Param) -> Param | None:
        """The old table of tokens, if a head of the new model has rows of its own and the old head read the table."""
        program, (n_old, n_new) = self.sides[0].program, self.tokens
        wanted = param.role == "head" and param.shape[0] == n_new
        scored = any(value.dims and value.dims[-1] == n_old for value in program.outputs.values())
        if not (wanted and scored) or any(each.role == "head" and each.shape[0] == n_old for each in program.params()):
            return None
        return next(each for each in program.params() if each.role == "embedding")

    def _from_table(self, param: Param, table: Param, *, made: Step) -> Step | Problem:
        if param.path in self.fresh:
            return replace(made, note="as was asked")
        old, new = described(self.sides[0].spec, table), described(self.sides[1].spec, param)
        there = replace(
            made, source=table.path, before=table.shape, what="copied", note="the head has rows of its own now"
        )
        if table.shape == param.shape and self.rows is None:
            return there
        return self._grown(old, new, there=replace(there, tokens=True, matrix=new.is_matrix))

    def _adds(self, param: Param) -> bool:
        """Whether a parameter is of the last map of a residual branch."""
        weight = self.new.get(f"{param.path.rpartition('.')[0]}.weight")
        return weight is not None and weight.role == "residual_projection"

    def _carried(self, old: Described, new: Described, *, place: Place, there: Step) -> Step | Problem:
        before, shape = old.param.shape, new.param.shape
        tokens = self._is_of_tokens(old, new)
        same = replace(there, what="copied" if place.added else "kept")
        if before == shape and not (tokens and self.rows is not None):
            return replace(same, note="cut into other heads" if _other_heads(old, new) else "")
        if not old.axes or old.axes != new.axes or len(before) != len(shape):
            return _unsayable(there, "is of another shape", cure="draw it anew")
        return self._grown(old, new, there=replace(same, tokens=tokens, matrix=new.is_matrix))

    def _grown(self, old: Described, new: Described, *, there: Step) -> Step | Problem:
        """What has other lengths, or other rows of tokens."""
        indices: list[Index] = []
        groups = _regrouped(old, new)
        if groups is not None and max(groups) % min(groups):
            return _unsayable(there, "has heads that cannot be pooled", cure="choose a divisor of n_kv_heads")
        what: What = "grown" if groups is None else "pooled" if groups[1] < groups[0] else "repeated"
        for at, axis in enumerate(new.axes):
            n_old, n_new = old.param.shape[at], new.param.shape[at]
            if axis == "rows":
                index = self._rows(new, n_old, n_new, tokens=there.tokens)
                if index is None:
                    note = f"{n_old} rows there, {n_new} here"
                    return replace(there, what="made", source=None, before=None, note=note, tokens=False)
                if not is_same(index, n_old):
                    what = "rows" if there.tokens else "cut" if n_new < n_old else "grown"
            elif axis == "experts":
                index = np.arange(n_new) if n_old == n_new else None
            else:
                index = index_of(axis, old, new, at=at, width=self.options.width)
            if index is None:
                return _unsayable(there, f"cannot become {n_new} {axis} of {n_old}", cure="draw it anew")
            indices.append(index)
        plain = all(is_same(index, n) for index, n in zip(indices, _after(old, groups), strict=True))
        if plain and groups is None:
            return replace(there, tokens=False)
        return replace(there, what=what, groups=groups, indices=None if plain else tuple(indices))

    def _rows(self, new: Described, n_old: int, n_new: int, *, tokens: bool) -> Index | None:
        """Rows of tokens by token or id; those of other tables by their number; those of classes not at all."""
        if tokens and self.rows is not None:
            return self.rows.index
        if n_old == n_new or new.param.role in TABLES:
            return by_id(n_old, n_new).index
        return None

    def _is_of_tokens(self, old: Described, new: Described) -> bool:
        """Whether rows are tokens: those of tables of tokens, and of heads that are as long as these."""
        if not new.axes or new.axes[0] != "rows" or new.param.role in TABLES - {"embedding"}:
            return False
        return (old.param.shape[0], new.param.shape[0]) == self.tokens


def _regrouped(old: Described, new: Described) -> tuple[int, int] | None:
    """Heads of keys and values before and after, where these alone are others."""
    if new.axes[0] not in ("keys", "values"):
        return None
    heads_old, groups_old, heads_new, groups_new = grouped(old, new)
    return (groups_old, groups_new) if heads_old == heads_new and groups_old != groups_new else None


def _after(old: Described, groups: tuple[int, int] | None) -> tuple[int, ...]:
    """The old lengths once heads are pooled or repeated."""
    shape = old.param.shape
    return shape if groups is None else (shape[0] * groups[1] // groups[0], *shape[1:])


def _other_heads(old: Described, new: Described) -> bool:
    if not new.axes or not {"queries", "keys", "values", "mixed"} & {*new.axes}:
        return False
    heads_old, _, heads_new, _ = grouped(old, new)
    return heads_old != heads_new


def _unsayable(step: Step, message: str, *, cure: str) -> Problem:
    return Problem(
        code="FX2201", path=step.path, message=message, expected=f"{list(step.before or ())}, as {step.source} has",
        found=str(list(step.shape)), cure=f"{cure}: --new '{step.path}'" if cure == "draw it anew" else cure,
    )  # fmt: skip


def _kind(of: Described) -> str:
    return "a block" if of.block is None else of.block.kind


def _begins(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}.")


def _renamed(path: str, rename: Mapping[str, str]) -> str:
    for before in sorted(rename, key=len, reverse=True):
        if _begins(path, before):
            return f"{rename[before]}{path[len(before) :]}"
    return path
