"""Parameters that a run leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from torch import nn

from flexit.errors import Problem, UserError
from flexit.ir.language.written import Node
from flexit.ir.program import Param, Program
from flexit.ir.wording import nearest
from flexit.runtime.train.optimisation.selection import Selection, selected
from flexit.runtime.train.read import fault
from flexit.runtime.train.wrong_fields import explained


def misfits(selections: Sequence[Selection], program: Program, root: Node) -> Iterator[Problem]:
    """FX1522 for each entry of ``freeze`` that means no parameter, FX1523 where nothing is left to learn."""
    params = [*program.params()]
    for index, entry in enumerate(selections):
        if not any(entry.holds(param) for param in params):
            yield means_nothing(root, f"freeze.{index}", entry=entry, params=params)
    learned = {param.path for param in params if param.trained}
    if selections and learned <= {*selected(selections, params)}:
        yield fault(
            root, "FX1523", "freeze", message="nothing is left to learn", expected="at least one parameter that learns",
            found=f"all {len(params)} frozen", cure="take out the entry that means too much",
        )  # fmt: skip


def means_nothing(root: Node, path: str, *, entry: Selection, params: Sequence[Param]) -> Problem:
    """FX1522, for an entry at ``path``."""
    return fault(
        root, "FX1522", path, message="means no parameter",
        expected=_example(entry, [param.path for param in params]), found=entry.said,
        cure="correct it; flexit show lists the blocks, whose paths parameter names begin with",
    )  # fmt: skip


def hold(model: nn.Module, program: Program) -> None:
    """Let no gradient be computed of what is frozen in a program."""
    frozen = {param.path for param in program.params() if param.frozen}
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)


def freeze(model: nn.Module, *selections: Selection | Mapping[str, Any] | str) -> list[str]:
    """Leave parameters of a model as they are: call it before the optimizer is made.

    Args:
        model: a module of :func:`flexit.to_torch`.
        selections: as in ``freeze`` of a run config, ``{"match": ..., "role": ...}``; a text is a pattern of names.

    Returns:
        The names of all that are frozen now.

    Raises:
        UserError: FX1522, an entry means no parameter; FX1523, nothing is left to learn; the model is as it was.
    """
    program = getattr(model, "program", None)
    if not isinstance(program, Program):
        raise UserError.of(
            "FX2007", "model cannot be used", path="model", expected="a module of flexit.to_torch",
            found=type(model).__name__, cure="for any other module, call requires_grad_(False) on its parameters",
        )  # fmt: skip
    params = [*program.params()]
    entries = [_entry(each) for each in selections]
    for index, entry in enumerate(entries):
        if not any(entry.holds(param) for param in params):
            raise _refused(
                "FX1522", index, message="means no parameter", found=entry.said,
                expected=_example(entry, (param.path for param in params)), cure="correct it",
            )  # fmt: skip
    wanted = {*selected(entries, params)}
    parameters = dict(model.named_parameters())
    if not any(parameter.requires_grad for name, parameter in parameters.items() if name not in wanted):
        raise _refused(
            "FX1523", None, message="nothing is left to learn", expected="at least one parameter that learns",
            found=f"all {len(parameters)} frozen", cure="take out the entry that means too much",
        )  # fmt: skip
    for name in wanted:
        parameters[name].requires_grad_(False)
    return [name for name, parameter in parameters.items() if not parameter.requires_grad]


def _entry(given: Selection | Mapping[str, Any] | str) -> Selection:
    if isinstance(given, Selection):
        return given
    written: Mapping[str, Any] = {"match": given} if isinstance(given, str) else given
    try:
        return Selection.model_validate(dict(written))
    except ValidationError as error:
        raise explained(Selection, written, error) from None


def _example(entry: Selection, names: Iterable[str]) -> str:
    near = nearest(entry.match or "", [*names])
    return f"at least one of the model's parameters{f', such as {near}' if near else ''}"


def _refused(code: str, index: int | None, *, message: str, expected: str, found: str, cure: str) -> UserError:
    path = "freeze" if index is None else f"freeze.{index}"
    return UserError.of(code, message, path=path, expected=expected, found=found, cure=cure)
