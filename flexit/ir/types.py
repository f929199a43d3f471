"""What a value of a program is: a dtype and dims. Shapes are tuples of ints and :class:`~flexit.ir.dims.Dim`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flexit.ir.dims import Size

DType = Literal["f32", "i64", "bool"]
Shape = tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class Type:
    """dtype and dims of a value. ``f32`` means *the model's float*: a lowering may choose another precision."""

    dtype: DType
    dims: Shape

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.dims))}]"

    @property
    def rank(self) -> int:
        """Number of dims."""
        return len(self.dims)

    def with_dims(self, dims: Sequence[Size]) -> Type:
        """The same dtype with other dims."""
        return Type(self.dtype, tuple(dims))


class ShapeError(Exception):
    """An op was given operands it cannot take: a defect of a block's expand(), not of a spec."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`ShapeError` unless ``condition`` holds."""
    if not condition:
        raise ShapeError(message)


def broadcast(left: Shape, right: Shape) -> Shape:
    """The shape of an elementwise result; a symbolic dim only meets an equal one or 1.

    Raises:
        ShapeError: two dims differ and neither is 1.
    """
    width = max(len(left), len(right))
    pairs = zip((1,) * (width - len(left)) + left, (1,) * (width - len(right)) + right, strict=True)
    dims: list[Size] = []
    for one, two in pairs:
        require(one in (two, 1) or two == 1, f"cannot broadcast {left} with {right}")
        dims.append(two if one == 1 else one)
    return tuple(dims)
