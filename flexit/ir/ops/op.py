"""The base of every primitive op: attributes, a shape rule, a cost and a dependence along a sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

from flexit.ir.dims import Size
from flexit.ir.types import Type

if TYPE_CHECKING:
    from flexit.ir.program import Node

Measure = Callable[[Size], int]
"""Turns a symbolic length into a number."""


class Dependence(IntEnum):
    """How a result at one position depends on other positions of a sequence."""

    POINTWISE = 0
    CAUSAL = 1
    """On earlier positions only, through a state."""
    GLOBAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """A primitive op; attributes are dataclass fields. Subclasses are final."""

    name: ClassVar[str]
    revises: ClassVar[bool] = False
    """Whether its result for a row changes when later tokens arrive, so that states hold what a whole run would not."""

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        """Types of the results.

        Raises:
            ShapeError: the operands do not fit.
        """
        raise NotImplementedError

    def flops(self, node: Node, measure: Measure) -> int:
        """Matmul-class floating point operations, a multiply-add counted as two. Elementwise work counts zero."""
        del node, measure
        return 0

    def dependence(self, node: Node, seq: str) -> Dependence:
        """Dependence of the results along the length symbol ``seq``, whose keys are on its ``total`` symbol."""
        del node, seq
        return Dependence.POINTWISE

    def attributes(self) -> Iterator[tuple[str, Any]]:
        """Attributes that differ from their default, in declaration order."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value != entry.default:
                yield entry.name, value


def product(dims: tuple[Size, ...], measure: Measure) -> int:
    """Number of elements of a shape."""
    count = 1
    for dim in dims:
        count *= measure(dim)
    return count
