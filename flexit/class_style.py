"""What class-style modules share: lowering with first weights of PyTorch's generator, masks by position, keywords."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from flexit.configs import ModelConfig
from flexit.errors import Problem, UserError
from flexit.ir.spec import Spec
from flexit.ir.wording import nearest
from flexit.lower.torch.module import FlexitModule, to_torch


def lowered(spec: Spec, *, seed: int | None = None, base: type[FlexitModule] = FlexitModule) -> FlexitModule:
    """The module of a spec; without a seed its first weights follow ``torch.manual_seed``.

    Raises:
        SpecError: the spec does not build.
    """
    drawn = int(torch.randint(2**31, ()).item()) if seed is None else seed
    return to_torch(spec, seed=drawn, base=base)


def visible(mask: Tensor, name: str, *, batch: int, queries: int, keys: int) -> Tensor:
    """A mask as ``bool [batch, 1 | queries, keys]``, true where a query sees a key.

    Args:
        mask: not 0 where seen, and of floats 0 and 1 alone: ``[batch, keys]``, or ``[1 | batch, 1 | queries, keys]``
            with dims of 1 before the last two or without.
        name: of the argument that it is, for messages.
        batch: rows of what it masks.
        queries: how many queries each has.
        keys: how many keys each has.

    Raises:
        UserError: FX2001, its shape is another or may mean two things, it is added to scores, or it is no tensor.
    """
    if not isinstance(cast("object", mask), Tensor):
        raise refused(
            name, f"{name} is no tensor", expected="a tensor, true where a query sees a key",
            found=described(mask), cure="make it a tensor, or leave it out",
        )  # fmt: skip
    shown = mask != 0
    if mask.is_floating_point() and not torch.equal(mask, shown.to(mask.dtype)):
        raise refused(
            name, f"{name} has numbers that are neither 0 nor 1", expected="a mask, true where a query sees a key",
            found=f"{mask[shown & (mask != 1)][0].item():g}",
            cure=f"write {name} == 0 for a mask that is added to scores",
        )  # fmt: skip
    if batch == queries == keys > 1 and shown.shape == (keys, keys) and not shown.triu(1).any():
        raise refused(
            name, f"{name} may be of padding or of causality", found=f"{[keys, keys]}, with nothing over the diagonal",
            expected=f"[{batch}, 1, {keys}] for padding, or [1, {queries}, {keys}] for pairs of query and key",
            cure=f"write {name}[:, None] for padding, or {name}[None]",
        )  # fmt: skip
    if shown.dim() == 2 and shown.shape[0] == batch:
        shown = shown[:, None]
    while shown.dim() > 3 and shown.shape[1] == 1:
        shown = shown.squeeze(1)
    fits = shown.dim() == 3 and shown.shape[0] in (1, batch) and shown.shape[1] in (1, queries)
    if not fits or shown.shape[2] != keys:
        raise refused(
            name, f"{name} does not fit", found=str(list(mask.shape)), cure="correct the mask's shape",
            expected=f"[{batch}, {keys}], [{batch}, 1, {keys}] or [{batch}, {queries}, {keys}], the last two also"
            f" with one more dim of 1 after the first",
        )  # fmt: skip
    return shown.expand(batch, -1, -1)


def agree(shown: Tensor, expected: Tensor, keys: Tensor) -> bool:
    """Whether two masks ``[batch, length, length]`` say the same of the queries that are no padding: those of ``keys
    [batch, length]``. What the others see makes no difference to anything.
    """
    return torch.equal(shown & keys[:, :, None], expected & keys[:, :, None])


def shape_of(value: object, dims: int) -> tuple[int, ...] | None:
    """The shape of a tensor of so many dims; None of anything else."""
    return tuple(value.shape) if isinstance(value, Tensor) and value.dim() == dims else None


def described(value: object) -> str:
    """What was given in the place of a tensor or a length, for messages."""
    if isinstance(value, Tensor):
        return str(list(value.shape))
    return str(value) if value is None or type(value) in {int, float, bool} else f"a {type(value).__name__}"


def refused(path: str, message: str, *, expected: str, found: str, cure: str) -> UserError:
    """An argument of a call that cannot be used."""
    return UserError.of("FX2001", message, path=path, expected=expected, found=found, cure=cure)


def says_more(name: str, sort: str, cure: str) -> UserError:
    """A mask that hides other pairs than the lowered program can."""
    return refused(
        name, f"{name} says more than {sort}", expected=f"a mask of {sort} alone", found="other hidden pairs", cure=cure
    )  # fmt: skip


def configured(names: Mapping[str, str], **fields: Any) -> ModelConfig:
    """The config that the arguments of a constructor say.

    Args:
        names: those of its arguments that the config calls otherwise, and how.
        fields: the arguments, and further fields of the config.

    Raises:
        UserError: a value is wrong; places are arguments of the constructor.
    """
    try:
        return ModelConfig(**{names.get(name, name): value for name, value in fields.items()})
    except UserError as error:
        own = {other: name for name, other in names.items()}
        raise UserError(_renamed(each, own) for each in error.problems) from None


def _renamed(problem: Problem, own: Mapping[str, str]) -> Problem:
    name = own.get(problem.path, problem.path)
    return replace(problem, path=name, cure=problem.cure.replace(problem.path, name))


def refuse_unknown(unknown: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise where a constructor was given keywords that it does not have.

    Raises:
        UserError: FX0201, with the nearest name of each.
    """
    names = list(known)
    problems = [
        Problem(
            code="FX0201", path=name, message="unknown keyword", expected=f"one of {', '.join(names)}", found=name,
            cure=f"write {near}" if (near := nearest(name, names)) else f"delete {name}",
        )
        for name in unknown
    ]  # fmt: skip
    if problems:
        raise UserError(problems)


def require_number(
    name: str, value: object, expected: str, *, whole: bool = False, least: float = -math.inf, under: float = math.inf
) -> None:
    """Raise unless an argument is a number, finite, from ``least`` on and below ``under``.

    Raises:
        UserError: FX2001, with ``expected`` as what it should be.
    """
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not number or not least <= value < under:  # pyright: ignore[reportOperatorIssue]
        raise refused(
            name, f"{name} is out of range", expected=f"{'a whole number' if whole else 'a number'}, {expected}",
            found=repr(value), cure=f"correct {name}",
        )  # fmt: skip
