"""``slice``: some of the slots of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flexit.ir.block import Block, Fault
from flexit.ir.dims import between
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander


class Slice(Block, kind="slice"):
    """Slots from start to stop, as Python slices, of the row as it arrived; mask and positions are kept."""

    formula = "y = x[start:stop], as Python counts"
    source = "its definition"
    examples = ({"kind": "slice", "start": 1}, {"kind": "slice", "start": -4, "stop": -1}, {"kind": "slice", "stop": 3})

    start: int = 0
    """First slot; counted from the end if negative."""
    stop: int | None = None
    """The slot after the last one; null: to the end."""

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        x: Sequence = ports["x"]
        length = x.axis.seq
        lengths = [length] if isinstance(length, int) else range(1, abs(self.start) + abs(self.stop or 0) + 2)
        if not any(range(n)[self.start : self.stop] for n in lengths):
            yield Fault(
                code="FX0206", field="stop" if self.stop is not None else "start", message="leaves no slot of any row",
                expected="a range that holds a slot", cure="make the range longer",
                found=f"{self.start} to {'the end' if self.stop is None else self.stop}",
            )  # fmt: skip

    def expand(self, e: Expander, x: Sequence) -> Sequence:
        axis = e.part(x.axis, self.start, self.stop)
        if axis is x.axis:
            return x
        start, stop = between(x.axis.seq, self.start, self.stop)
        return Sequence(x=e.slice(x.x, 1, start=start, stop=stop), axis=axis)
