"""Whether given weights are those of a model: every parameter, no other, each of its shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from flexit.errors import Problem, UserError


def require_fitting(shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, Any]) -> None:
    """Refuse weights that are not exactly the parameters of a model.

    Args:
        shapes: shape of every parameter by its path.
        weights: arrays by path.

    Raises:
        UserError: a parameter is missing, unexpected or mis-shaped; all of them are listed.
    """
    problems = list(_misfits(shapes, weights))
    if problems:
        raise UserError(problems)


def _misfits(shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, Any]) -> Iterator[Problem]:
    for name in (name for name in shapes if name not in weights):
        yield _misfit(name, "is missing", expected=shapes[name], found="nothing")
    for name in (name for name in weights if name not in shapes):
        yield _misfit(name, "is no parameter of the model", expected="nothing", found="an array")
    for name, shape in shapes.items():
        if name in weights and (found := _shape(weights[name])) != shape:
            yield _misfit(name, "has another shape", expected=shape, found="no array" if found is None else found)


def _shape(array: Any) -> tuple[int, ...] | None:
    """Shape of an array, or of nested lists by their first entries; None of anything else."""
    if isinstance(array, list | tuple):
        entries = cast("list[Any] | tuple[Any, ...]", array)
        inner = _shape(entries[0]) if entries else ()
        return None if inner is None else (len(entries), *inner)
    if isinstance(array, int | float):
        return ()
    shape = getattr(array, "shape", None)
    return None if shape is None else tuple(shape)


def _misfit(path: str, message: str, *, expected: object, found: object) -> Problem:
    return Problem(
        code="FX2002", path=path, message=message, expected=str(expected), found=str(found),
        cure="give exactly the parameters of the spec, under their paths",
    )  # fmt: skip
