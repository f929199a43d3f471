"""Small models whose weights go into others: specs as text with what differs, and checkpoints of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from flexit.ir.io.load import parse_spec
from flexit.ir.spec import Spec
from flexit.lower.torch.module import FlexitModule, to_torch

DECODER = """
flexit: 1
name: small
blocks:
  embed: {{kind: embedding, vocab_size: {vocab}, d_model: {d_model}{position}}}
  decoder:
    kind: stack
    n_layers: {layers}
    layer:
      kind: transformer_layer
      norm: {norm}
      norm_placement: {placement}
      attention: {{kind: multi_head, n_heads: {heads}, bias: true, mask: causal{attention}}}
      feed_forward: {{kind: {mlp}, d_ff: {d_ff}, bias: true}}
    final_norm: {norm}
  head: {head}
"""
SMALL: dict[str, Any] = {
    "vocab": 40, "d_model": 16, "position": ", position: {kind: learned, max_len: 20}", "layers": 2,
    "norm": "layer_norm", "placement": "pre", "heads": 4, "attention": "", "mlp": "mlp", "d_ff": 24,
    "head": "{kind: lm_head, tied_to: embed}",
}  # fmt: skip
OWN_HEAD = "{kind: lm_head, vocab_size: 40}"


def small(**different: Any) -> Spec:
    """The small decoder, with some things otherwise."""
    return parse_spec(DECODER.format(**(SMALL | different)))


def checkpoint(folder: Path, spec: Spec, *, seed: int = 0) -> FlexitModule:
    """A checkpoint with weights in which nothing is zero or one; the module that it is of."""
    module = to_torch(spec, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    folder.mkdir()
    (folder / "spec.json").write_text(spec.to_json())
    save_file({name: value.detach() for name, value in module.named_parameters()}, folder / "model.safetensors")
    return module.eval()


def logits(module: FlexitModule, ids: Any) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return module(input_ids=torch.as_tensor(np.asarray(ids)))["logits"].double().numpy()


def ids(rows: int = 3, length: int = 12, most: int = 40) -> Any:
    return np.random.default_rng(7).integers(0, most, (rows, length))
