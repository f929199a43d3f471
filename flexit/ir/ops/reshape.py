"""``reshape``: the same elements in other dims, by a template that needs no symbol's value."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from flexit.ir.dims import Dim, Size
from flexit.ir.ops.op import Op
from flexit.ir.types import Shape, Type, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape(Op):
    """``x -> y``. Each entry of ``to`` is an int, ``=i`` (copies dim i of x) or ``*`` (the rest, at most once)."""

    name: ClassVar[str] = "reshape"
    to: tuple[int | str, ...]

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        (x,) = inputs
        assert x is not None
        copied = {int(entry[1:]) for entry in self.to if isinstance(entry, str) and entry != "*"}
        left = [dim for index, dim in enumerate(x.dims) if index not in copied]
        count = _product([entry for entry in self.to if isinstance(entry, int)])
        rest = _product(left)
        require(isinstance(count, int) and count > 0, f"reshape of {x} to {self.to}")
        assert isinstance(count, int)
        dims = tuple(
            entry
            if isinstance(entry, int)
            else (_divided(rest, count, x.dims) if entry == "*" else x.dims[int(entry[1:])])
            for entry in self.to
        )
        require("*" in self.to or rest == count, f"reshape of {x} to {self.to}")
        return (x.with_dims(dims),)


def _product(dims: list[Size]) -> Size:
    whole = prod(dim for dim in dims if isinstance(dim, int))
    symbolic = [dim for dim in dims if not isinstance(dim, int)]
    require(len(symbolic) <= 1, "reshape merges two symbolic dims")
    return symbolic[0] * whole if symbolic else whole


def _divided(rest: Size, count: int, dims: Shape) -> Size:
    if isinstance(rest, int):
        require(rest % count == 0, f"reshape of {dims}: {count} does not divide {rest}")
        return rest // count
    whole = all(factor % count == 0 for _, factor in rest.terms) and rest.constant % count == 0
    require(whole, f"reshape of {dims}: {count} does not divide {rest}")
    return Dim(tuple((atom, factor // count) for atom, factor in rest.terms), rest.constant // count)
