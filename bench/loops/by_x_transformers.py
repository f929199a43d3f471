"""The model of ``x-transformers`` in a plain loop: ``python by_x_transformers.py gpt|llama WEIGHTS [compiled]``."""

from __future__ import annotations

import sys

import turns
from x_transformers import Decoder, TransformerWrapper


def main(kind: str, weights: str, mode: str = "eager") -> None:
    """Serve until no more turns come; it has weights of its own."""
    del weights
    before = turns.memory("VmRSS")
    llama = {
        "rotary_pos_emb": True, "rotary_emb_dim": turns.WIDTH // turns.HEADS, "use_rmsnorm": True, "ff_glu": True,
        "ff_swish": True, "ff_no_bias": True, "attn_kv_heads": turns.KV_HEADS,
    }  # fmt: skip
    layers = Decoder(
        dim=turns.WIDTH, depth=turns.LAYERS, heads=turns.HEADS, ff_mult=turns.D_FF / turns.WIDTH, attn_flash=True,
        **(llama if kind == "llama" else {}),
    )  # fmt: skip
    model = TransformerWrapper(
        num_tokens=turns.VOCAB, max_seq_len=turns.LENGTH, tie_embedding=True, use_abs_pos_emb=kind == "gpt",
        attn_layers=layers,
    )  # fmt: skip
    turns.serve(model, model, before=before, compiled=mode == "compiled")


if __name__ == "__main__":
    main(*sys.argv[1:])
