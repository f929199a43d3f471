"""How an attention comes to its score bias: its own, or one that a stack lends to all of its layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flexit.ir.block import Block, Fault
from flexit.ir.expansion.edges import Axis
from flexit.ir.program import Value
from flexit.ir.score_bias.base import Bias, Heads, Reader, Terms

if TYPE_CHECKING:
    from flexit.ir.expansion.expander import Expander


@dataclass(eq=False)
class SharedBias:
    """A stack's one bias, prepared once and read by the self-attention of all layers.

    Attributes:
        bias: what it is.
        anchor: a value of the region the stack stands in.
        scope: path of its parameters there.
        readers: each attention that read it.
    """

    bias: Bias
    anchor: Value
    scope: tuple[str, ...]
    readers: list[Heads] = field(default_factory=list[Heads])

    def prepared(self, e: Expander, axis: Axis, heads: Heads) -> tuple[Value, ...]:
        """What the terms are made of; the same values for equal needs."""
        self.readers.append(heads)
        key = (id(self), self.bias.needs(heads), heads.cached, id(axis))
        return e.hoist(key, [self.anchor, axis.key_rank], self.scope, make=lambda: self.bias.prepare(e, axis, heads))

    def needs(self) -> list[str]:
        """What the readers need, each different need once."""
        return sorted({", ".join(self.bias.needs(heads)) for heads in self.readers})

    def faults(self) -> Iterator[Fault]:
        """What is wrong with the bias for its readers; fields are those of the stack."""
        found = [fault for heads in self.readers for fault in self.bias.check_for(heads)]
        yield from (replace(fault, field=f"score_bias.{fault.field}") for fault in dict.fromkeys(found))


def read(e: Expander, block: Block, own: Bias | None, *, reader: Reader) -> Terms:
    """What an attention adds to its scores.

    Raises:
        Unexpanded: it has a bias of its own and the stack around it lends one.
    """
    shared: SharedBias | None = e.provided("score_bias")
    if shared is not None and own is not None:
        e.refuse(block, Fault(
            code="FX0503", field="scores.bias", message="a second score bias on one attention",
            expected="one: the stack has a score_bias for all of its layers", found=own.kind,
            cure="delete scores.bias here, or score_bias of the stack",
        ))  # fmt: skip
    if shared is not None:
        return shared.bias.added(e, shared.prepared(e, reader.axis, reader.heads), reader)
    if own is None:
        return Terms()
    with e.inside("score_bias", reader.heads.width):
        prepared = own.prepare(e, reader.axis, reader.heads)
    return own.added(e, prepared, reader)
