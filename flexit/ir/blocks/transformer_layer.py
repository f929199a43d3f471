"""``transformer_layer``: attention, cross-attention and feed-forward, each in a residual sub-layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from flexit.ir.block import Block, Fault, FeedForward, Inferred, Mixer, Norm, Port, Surroundings
from flexit.ir.blocks._residual import Placement, check_placement, places
from flexit.ir.expansion.edges import Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import INFERRED, Probability, distinct
from flexit.ir.language.residual_form import Branches, ResidualForm, Sequential
from flexit.ir.program import Value

Name = Literal["attention", "cross_attention", "feed_forward"]
NAMES: tuple[Name, ...] = ("attention", "cross_attention", "feed_forward")


class TransformerLayer(Block, kind="transformer_layer"):
    """Sub-layers f, in turn or side by side: x = residual_norm(skip * x + mult * output_norm(f(input_norm(x))))."""

    formula = "for f in attention, cross-attention, feed-forward: x = norm_r(skip x + multiplier norm_o(f(norm_i(x))))"
    source = (
        "Vaswani et al. 2017, arXiv 1706.03762; pre-norm: Xiong et al. 2020, arXiv 2002.04745; parallel: Wang and "
        "Komatsuzaki 2021 (GPT-J)"
    )
    also_called: ClassVar[Mapping[str, str]] = {
        "transformer": "", "transformer_block": "", "block": "", "layer": "", "encoder_layer": "",
        "decoder_layer": "",
    }  # fmt: skip
    usual: ClassVar[bool] = True
    inputs: ClassVar[Mapping[str, Port]] = {
        "x": Port(("sequence",)),
        "memory": Port(("sequence",), optional=True, chains=False),
    }
    region: ClassVar[bool] = True
    examples = (
        {
            "kind": "transformer_layer", "norm": "layer_norm", "norm_placement": "pre",
            "attention": {"kind": "multi_head", "n_heads": 2, "mask": "causal"},
            "feed_forward": {"kind": "mlp", "d_ff": 24},
        },
        {
            "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "post",
            "attention": {"kind": "multi_head", "n_heads": 2, "mask": "causal"},
            "cross_attention": {"kind": "multi_head", "n_heads": 2}, "feed_forward": None,
        },
        {
            "kind": "transformer_layer", "norm": "layer_norm", "norm_placement": "sandwich",
            "residual": {"kind": "parallel", "multiplier": 0.5, "layer_scale": 0.1},
            "attention": {"kind": "multi_head", "n_heads": 2, "mask": "causal"},
            "feed_forward": {"kind": "mlp", "d_ff": 24}, "drop_path": 0.1,
        },
    )  # fmt: skip

    norm: Norm | None = Field()
    """One kind for all places; parameters are per place."""
    norm_placement: Placement = None
    """Where norms stand; required with norm, refused without."""
    norm_on: Annotated[list[Name] | None, AfterValidator(distinct), INFERRED] = None
    """Sub-layers that are normed; inferred: all of them."""
    attention: Mixer | None = Field()
    """Self-attention or another token mixer."""
    cross_attention: Mixer | None = None
    """Attention that reads the port memory."""
    feed_forward: FeedForward | None = Field()
    """Works on each position alone."""
    order: Annotated[list[Name] | None, INFERRED] = None
    """Order of the sub-layers; a repeated name is a second set of parameters (macaron)."""
    residual: ResidualForm = Sequential()
    """How branches and skips are joined."""
    dropout: Probability = 0.0
    """On every branch before it is added."""
    drop_path: Probability = 0.0
    """Drop a whole branch in training, per row; kept ones are divided by 1 - drop_path."""

    @property
    def present(self) -> tuple[Name, ...]:
        """Sub-layers that are not null."""
        return tuple(name for name in NAMES if getattr(self, name) is not None)

    def reads(self, port: str) -> bool:
        return self.cross_attention is not None if port == "memory" else super().reads(port)

    @property
    def open_stream(self) -> bool:
        return self.norm is not None and places(self.norm_placement) == ("input",)

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        if self.norm is not None and path[0].endswith("_norm"):
            return self.norm, path[1:]
        return super().child(path)

    def check(self) -> Iterator[Fault]:
        yield from check_placement(self.norm, self.norm_placement)
        if not self.present:
            yield Fault(
                code="FX0506", field="attention", message="the layer has no sub-layer",
                expected="at least one of attention, cross_attention and feed_forward", found="null in all of them",
                cure="write attention or feed_forward",
            )  # fmt: skip
        for field, words in {"order": self.order or [], "norm_on": self.norm_on or []}.items():
            absent = [word for word in words if word not in self.present]
            if absent:
                yield Fault(
                    code="FX0506", field=field, message="names a sub-layer that is not there",
                    expected=f"only {', '.join(self.present)}", found=", ".join(absent),
                    cure=f"take {absent[0]} out, or write that sub-layer",
                )  # fmt: skip
        left_out = [name for name in self.present if self.order is not None and name not in self.order]
        if left_out:
            yield Fault(
                code="FX0506", field="order", message="leaves out a sub-layer that is there",
                expected=f"each of {', '.join(self.present)} at least once", found=", ".join(self.order or []),
                cure=f"add {left_out[0]} to order, or set it to null",
            )  # fmt: skip
        if self.cross_attention is not None and "memory" not in self.cross_attention.inputs:
            yield Fault(
                code="FX0502", field="cross_attention", message="does not read another sequence",
                expected="a mixer with the port memory", found=self.cross_attention.kind,
                cure="use multi-head attention here, or put this mixer in attention",
            )  # fmt: skip
        if self.norm is None and self.norm_on is not None:
            yield Fault(
                code="FX0501", field="norm_on", message="has no effect", expected="nothing, since norm is null",
                found=", ".join(self.norm_on), cure="delete norm_on",
            )  # fmt: skip
        yield from self.residual.check(self._branches())

    def check_ports(self, **ports: Any) -> Iterator[Fault]:
        if self.cross_attention is not None and "memory" not in ports:
            yield Fault(
                code="FX0305", field="cross_attention", message="the port memory is not wired",
                expected="a sequence to read", found="no memory",
                cure="add memory to the from: of the block that holds this layer, or set cross_attention: null",
            )  # fmt: skip

    def inferred(self, around: Surroundings) -> Iterator[Inferred]:
        del around
        if self.order is None and self.residual.ordered:
            yield Inferred("order", list(self.present), "as present")
        if self.norm is not None and self.norm_on is None:
            yield Inferred("norm_on", list(self.present), "all of them")

    def expand(self, e: Expander, x: Sequence, memory: Sequence | None = None) -> Sequence:
        return self.residual.expand(e, x, self._branches(memory))

    def _branches(self, memory: Sequence | None = None) -> Branches:
        def run(e: Expander, h: Sequence, *, name: str, path: str) -> Value:
            ports = {"memory": memory} if name == "cross_attention" else {}
            return e.main(getattr(self, name), path, x=h, **ports).x

        return Branches(
            present=self.present, steps=tuple(self.order or self.present), ordered=self.order is not None,
            norm=self.norm, places=places(self.norm_placement),
            norm_on=self.present if self.norm_on is None else tuple(self.norm_on), dropout=self.dropout,
            drop_path=self.drop_path, run=run,
        )  # fmt: skip
