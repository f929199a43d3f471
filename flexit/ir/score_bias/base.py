"""What a score bias is, and how a stack lends one to all of its layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexit.ir.block import Fault
from flexit.ir.edges import Axis
from flexit.ir.language import Kind
from flexit.ir.program import Value

if TYPE_CHECKING:
    from flexit.ir.expander import Expander


class Bias(Kind, family="Bias", package="flexit.ir.score_bias"):
    """A term added to attention scores, by the signed distance d = k - q in ranks."""

    def check_for(self, *, two_sided: bool) -> Iterator[Fault]:
        """Faults that show once the mask is known."""
        del two_sided
        yield from ()

    def expand(self, e: Expander, axis: Axis, *, n_heads: int, causal: bool) -> Value:
        """``[batch, n_heads, seq, keys]``, with parameters below the current path."""
        raise NotImplementedError


@dataclass(eq=False)
class SharedBias:
    """A stack's one bias, made once and read by the self-attention of all layers.

    Attributes:
        bias: what it is.
        anchor: a value of the region the stack stands in.
        scope: path of its parameters there.
        readers: (n_heads, causal) of each attention that read it.
    """

    bias: Bias
    anchor: Value
    scope: tuple[str, ...]
    readers: list[tuple[int, bool]]

    def read(self, e: Expander, axis: Axis, *, n_heads: int, causal: bool) -> Value:
        """The bias for one attention; the same value for equal arguments."""
        self.readers.append((n_heads, causal))
        key = (id(self), n_heads, causal, id(axis))
        anchors = [self.anchor, axis.key_rank]
        return e.hoist(key, anchors, self.scope, make=lambda: self.bias.expand(e, axis, n_heads=n_heads, causal=causal))
