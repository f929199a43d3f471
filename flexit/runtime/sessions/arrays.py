"""One input of a session as an array: lists, arrays and tensors of any plain kind are taken, all else is refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexit.errors import TaskError
from flexit.lower.real import is_narrow, on_cpu

Array = np.ndarray[Any, np.dtype[Any]]

LARGEST = np.iinfo(np.int64).max


def refused(name: str, message: str, *, expected: str, found: str, cure: str) -> TaskError:
    """The error of an input that cannot be used."""
    return TaskError.of("FX2001", f"{name} {message}", path=name, expected=expected, found=found, cure=cure)


def integers(name: str, given: object, *, limit: int | None) -> Array:
    """``int64[batch, length]`` of numbers from 0 to ``limit`` - 1.

    Args:
        name: of the input, for messages.
        given: nested lists, an array of integers or booleans, or a tensor of either.
        limit: one more than the largest number, or None for no bound.

    Raises:
        TaskError: FX2001, it is something else.
    """
    array = _whole(name, given, shape="[batch, length]", rank=2)
    wrong = (array < 0) | (array > (LARGEST if limit is None else limit - 1))
    if wrong.any():
        row, slot = np.argwhere(wrong)[0]
        raise refused(
            name, "is out of range", expected="0 or more, below 2**63" if limit is None else f"0 to {limit - 1}",
            found=f"{array[row, slot]} in row {row}, slot {slot}",
            cure="compare the tokenizer with the model; padding has any id of the model, and a mask of 0",
        )  # fmt: skip
    return np.ascontiguousarray(array, np.int64)


def lengths(name: str, given: object) -> Array:
    """``int64[batch]`` of numbers of tokens.

    Raises:
        TaskError: FX2001, it is something else.
    """
    array = _whole(name, given, shape="[batch]", rank=1)
    wrong = (array < 0) | (array > LARGEST)
    if wrong.any():
        raise refused(
            name, "is out of range", expected="0 or more tokens for each row, below 2**63", found=str(array[wrong][0]),
            cure="give the number of tokens that see each other, 0 for none",
        )  # fmt: skip
    return np.ascontiguousarray(array, np.int64)


def flags(name: str, given: object) -> Array:
    """A mask ``int64[batch, length]`` of 0 and 1.

    Raises:
        TaskError: FX2001, it is something else.
    """
    array = _shaped(name, given, shape="[batch, length]", rank=2)
    if array.dtype.kind not in "iub" or not np.isin(array, (0, 1)).all():
        strange = array.dtype if array.dtype.kind not in "iub" else array[~np.isin(array, (0, 1))][0]
        raise refused(
            name, "is no mask", expected="integers or booleans: 1 where a token counts, 0 where it is padding",
            found=str(strange), cure="give 0 and 1, not what is added to scores",
        )  # fmt: skip
    return np.ascontiguousarray(array, np.int64)


def numbers(name: str, given: object, *, shape: str, width: int | None) -> Array:
    """``fp32`` values whose last axis is ``width`` long.

    Args:
        name: of the input, for messages.
        given: nested lists, an array or a tensor of numbers.
        shape: in words, ``[batch, length, width]``.
        width: of the last axis, or None for any.

    Raises:
        TaskError: FX2001, it is something else, or not finite.
    """
    array = _shaped(name, given, shape=shape, rank=shape.count(",") + 1)
    if width is not None and array.shape[-1] != width:
        raise refused(
            name, "has another width", expected=f"{width} numbers a slot", found=str(list(array.shape)),
            cure="give what the model was built for",
        )  # fmt: skip
    if array.dtype.kind not in "iuf" and not is_narrow(array):
        raise refused(name, "holds no numbers", expected="numbers", found=str(array.dtype), cure="convert it before")
    found = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(found).all():
        raise refused(
            name, "is not finite", expected="numbers that fp32 can hold", found="NaN or infinity",
            cure="look where it comes from; padding too is made of numbers",
        )  # fmt: skip
    return found


def integers_of(given: object) -> list[int] | None:
    """A flat sequence of integers that int64 holds, in any form, as a list; None of anything else."""
    try:
        array = np.asarray(on_cpu(given))
    except (ValueError, TypeError, OverflowError):
        return None
    if array.ndim != 1 or (array.size and (array.dtype.kind not in "iu" or array.max() > LARGEST)):
        return None
    return [int(number) for number in array]


def _whole(name: str, given: object, *, shape: str, rank: int) -> Array:
    array = _shaped(name, given, shape=shape, rank=rank)
    if array.dtype.kind not in "iub":
        raise refused(name, "holds no integers", expected="integers", found=str(array.dtype), cure="convert it before")
    return array


def _shaped(name: str, given: object, *, shape: str, rank: int) -> Array:
    try:
        array = np.asarray(on_cpu(given))
    except (ValueError, TypeError, OverflowError):  # rows of several lengths, or nothing that numpy knows
        raise refused(
            name, "is no array", expected=f"an array {shape}", found="rows of several lengths, or no numbers",
            cure="pad the rows to one length, and give a mask that is 0 there",
        ) from None  # fmt: skip
    if array.ndim != rank or 0 in array.shape:
        raise refused(
            name, "has another shape", expected=f"{shape}, at least one row and one slot",
            found=f"a {type(given).__name__}" if array.dtype == object else str(list(array.shape)),
            cure=f"give an array of {rank} axes",
        )  # fmt: skip
    return array
