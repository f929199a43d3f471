"""``short_conv``: a gated short convolution as token mixer (LFM2)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flexit.ir.block import Mixer
from flexit.ir.blocks._empty import documents_with_one, with_one, without_one
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander


class ShortConv(Mixer, kind="short_conv"):
    """out(c * conv(b * v)) with [b, c, v] = in(x); conv is causal, one filter per channel (LFM2)."""

    formula = "[b, c, v] = W_in x;  y = W_out (c * conv(b * v)), conv_t = sum_k F[k] u_(t - kernel + 1 + k) per channel"
    source = "Liquid AI 2025 (LFM2); Hugging Face's Lfm2ShortConv"
    examples = ({"kind": "short_conv", "kernel": 3}, {"kind": "short_conv", "kernel": 4, "bias": True})

    kernel: Annotated[int, Field(ge=2)]
    """Taps."""
    bias: bool = False
    """On all three parts."""

    @property
    def orders(self) -> bool:
        return True

    def expand(self, e: Expander, x: Sequence) -> Sequence:
        d = x.width
        b, c, v = e.split(e.linear(x.x, 3 * d, "in_proj", bias=self.bias), [d, d, d])
        cached = x.axis.decoded and e.cached
        values, mask = with_one(e, e.mul(b, v), x.axis)
        mixed = e.causal_conv(
            values, mask, "conv", kernel=self.kernel, bias=self.bias, cached=cached,
            documents=documents_with_one(e, x.axis),
        )  # fmt: skip
        mixed = without_one(e, mixed, x.axis)
        return x.of(e.linear(e.mul(c, mixed), d, "out_proj", bias=self.bias, role="residual_projection"))
