"""The small models whose knobs are turned: a decoder, an encoder, and a decoder that reads an encoder."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

Data = dict[str, Any]
Path = tuple[str, ...]
LAYER: Data = {
    "kind": "transformer_layer",
    "norm": {"kind": "rms_norm"},
    "norm_placement": "pre",
    "attention": {"kind": "multi_head", "n_heads": 2, "mask": {"kind": "causal"}},
    "feed_forward": {"kind": "mlp", "d_ff": 12},
}
EMBED: Data = {"kind": "embedding", "vocab_size": 13, "d_model": 16}
STACK: Data = {"kind": "stack", "n_layers": 2, "final_norm": True}


@dataclass(frozen=True, eq=False)
class Frame:
    """A document, and where in it knobs are.

    Attributes:
        document: what stands where nothing is turned.
        open: paths of blocks all of whose fields, and all of the blocks in them, are knobs.
        deep: fields with blocks or kinds whose own fields are knobs too; of others only the kind is one.
        choices: paths at which another kind of block may stand, with the kinds.
        fixed: fields and kinds that are no knobs here.
    """

    name: str
    document: Data
    open: tuple[Path, ...]
    deep: tuple[str, ...]
    choices: tuple[tuple[Path, tuple[str, ...]], ...] = ()
    fixed: tuple[str, ...] = ()

    def copy(self) -> Data:
        """The document, to be changed."""
        return copy.deepcopy(self.document)


def _full(layer: Data) -> Data:
    changed = copy.deepcopy(layer)
    changed["attention"]["mask"] = {"kind": "full"}
    return changed


DECODER = Frame(
    "decoder",
    {
        "flexit": 1, "name": "decoder",
        "blocks": {
            "embed": EMBED,
            "layers": {**STACK, "layer": LAYER},
            "head": {"kind": "lm_head", "vocab_size": 13},
        },
        "outputs": {"logits": "head"},
    },
    open=(("blocks", "embed"), ("blocks", "layers"), ("blocks", "head")),
    deep=("position", "ids", "attention", "rotary", "scaling", "mask", "bias", "feed_forward", "norm", "residual"),
    fixed=("cross_attention", "token_types", "tied_to", "token_dropout", "full"),
)  # fmt: skip

ENCODER = Frame(
    "encoder",
    {
        "flexit": 1, "name": "encoder",
        "inputs": {"input_ids": "tokens", "token_type_ids": "tokens"},
        "blocks": {
            "embed": {**EMBED, "token_types": 2, "from": {"tokens": "input_ids", "token_types": "token_type_ids"}},
            "layers": {**STACK, "layer": _full(LAYER)},
            "head": {"kind": "token_classifier", "n_labels": 3},
        },
    },
    open=(("blocks", "head"), ("blocks", "layers", "layer", "attention", "scores", "bias"),
          ("blocks", "layers", "layer", "attention", "mask"), ("blocks", "layers", "layer", "residual"),
          ("blocks", "embed")),
    deep=("bias", "mask", "residual"),
    choices=((("blocks", "head"), (
        "token_classifier", "sequence_classifier", "regression", "span", "mlm_head", "lm_head", "pool", "linear",
        "dropout", "layer_norm", "rms_norm", "std_norm", "add_position", "downsample", "slice", "short_conv",
        "residual",
    )),),
)  # fmt: skip

_CROSSED: Data = {**LAYER, "cross_attention": {"kind": "multi_head", "n_heads": 2}}
ENCODER_DECODER = Frame(
    "encoder-decoder",
    {
        "flexit": 1, "name": "encoder_decoder", "inputs": {"input_ids": "tokens", "decoder_input_ids": "tokens"},
        "blocks": {
            "read": {**EMBED, "from": "input_ids"},
            "encoder": {**STACK, "n_layers": 1, "layer": _full(LAYER)},
            "written": {"kind": "embedding", "tied_to": "read", "from": "decoder_input_ids"},
            "decoder": {**STACK, "n_layers": 1, "layer": _CROSSED, "from": {"x": "written", "memory": "encoder"}},
            "head": {"kind": "lm_head", "tied_to": "read"},
        },
        "outputs": {"logits": "head"},
    },
    open=(("blocks", "decoder", "layer", "cross_attention"), ("blocks", "written"), ("blocks", "head"),
          ("blocks", "decoder", "layer")),
    deep=("residual",),
    fixed=("rotary", "mask", "bias", "attention", "feed_forward", "projection", "tied_to", "token_types"),
)  # fmt: skip
FRAMES = (DECODER, ENCODER, ENCODER_DECODER)
