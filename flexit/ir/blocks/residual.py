"""``residual``: one residual sub-layer around any block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from flexit.ir.block import Block, Fault, Norm
from flexit.ir.blocks._residual import Branch, Placement, Sublayer, check_placement, places
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import PositiveFloat, Probability


class Residual(Block, kind="residual"):
    """x = residual_norm(skip * x + multiplier * output_norm(body(input_norm(x))))."""

    formula = "y = norm_r(skip x + multiplier norm_o(f(norm_i(x))))"
    source = "He et al. 2016, arXiv 1512.03385; placements: Xiong et al. 2020, arXiv 2002.04745"
    also_called: ClassVar[Mapping[str, str]] = {"skip": "", "skip_connection": ""}
    takes_extra_ports: ClassVar[bool] = True
    region: ClassVar[bool] = True
    examples = (
        {
            "kind": "residual", "body": {"kind": "mlp", "d_ff": 24}, "norm": "rms_norm", "norm_placement": "sandwich",
            "multiplier": 0.5, "skip_multiplier": 1.5, "layer_scale": 0.1, "drop_path": 0.2,
        },
    )  # fmt: skip

    body: Block
    """Sequence to sequence of the same width."""
    norm: Norm | None = None
    """The norm of all places; parameters are per place."""
    norm_placement: Placement = None
    """Where norms stand; required with norm, refused without."""
    multiplier: PositiveFloat = 1.0
    """On the branch."""
    skip_multiplier: PositiveFloat = 1.0
    """On the skip (DeepNorm)."""
    layer_scale: float | None = None
    """A learned vector on the branch, this its first value (CaiT)."""
    dropout: Probability = 0.0
    """On the branch before it is added."""
    drop_path: Probability = 0.0
    """Drop the whole branch in training, per row; kept ones are divided by 1 - drop_path."""

    @property
    def open_stream(self) -> bool:
        return self.norm is not None and places(self.norm_placement) == ("input",)

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        if self.norm is not None and path[0].endswith("_norm"):
            return self.norm, path[1:]
        return super().child(path)

    def check(self) -> Iterator[Fault]:
        yield from check_placement(self.norm, self.norm_placement)

    def expand(self, e: Expander, x: Sequence, **others: Any) -> Sequence:
        around = Branch(
            norm=self.norm, places=places(self.norm_placement), prefix="", layer_scale=self.layer_scale,
            dropout=self.dropout, drop_path=self.drop_path,
        )  # fmt: skip
        sublayer = Sublayer(branch=around, multiplier=self.multiplier, skip_multiplier=self.skip_multiplier)
        taken = {port: edge for port, edge in others.items() if self.body.takes_extra_ports or port in self.body.inputs}

        def run(h: Sequence) -> Any:
            y = e.main(self.body, "body", x=h, **taken)
            e.require_like(self, "body", y, x=x)
            return y.x

        return sublayer.apply(e, x, run)
