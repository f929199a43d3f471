"""``parameter``: a trained array read as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flexit.ir.ops.op import Op
from flexit.ir.types import Type


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter(Op):
    """``-> [shape]``. Slot: ``value``. ``borrowed``: the array belongs to a module that another op or call owns."""

    name: ClassVar[str] = "parameter"
    shape: tuple[int, ...]
    borrowed: bool = False

    def infer(self, *inputs: Type | None) -> tuple[Type, ...]:
        del inputs
        return (Type("f32", self.shape),)
