"""``upsample``: each position repeated, to the length of another sequence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flexit.ir.block import Block, Fault, Port
from flexit.ir.dims import ceil_div
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.ops.upsample import Upsample as UpsampleOp


class Upsample(Block, kind="upsample"):
    """Each vector repeated ``factor`` times, cut to the length, mask and positions of ``like``."""

    formula = "y_t = x_floor(t / factor), for the t of like"
    source = "Nawrot et al. 2022 (Hourglass), arXiv 2110.13711; Dai et al. 2020, arXiv 2006.03236"
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence",)), "like": Port(("sequence",), chains=False)}
    examples = ({"kind": "upsample", "factor": 2},)

    factor: Annotated[int, Field(ge=2)]
    """Copies of each position."""

    @property
    def why_not_packed(self) -> str:
        return "repeats positions that two documents may share"

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        x, like = ports["x"], ports["like"]
        if x.axis.seq != ceil_div(like.axis.seq, self.factor):
            yield Fault(
                code="FX0402", field="factor", message="does not undo a downsample of like",
                expected=f"x of length ceil({like.axis.described} / {self.factor})", found=x.axis.described,
                cure="use the factor of the downsample, and the sequence before it as like",
            )  # fmt: skip

    def expand(self, e: Expander, x: Sequence, like: Sequence) -> Sequence:
        return like.of(e.write(UpsampleOp(factor=self.factor), x.x, like.x, name="upsample"))
