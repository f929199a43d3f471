"""The model written by hand: ``python by_hand.py gpt|llama WEIGHTS [compiled]``."""

from __future__ import annotations

import sys
from pathlib import Path

import turns
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[2]))
from bench.handwritten import Gpt, Llama


def main(kind: str, weights: str, mode: str = "eager") -> None:
    """Serve until no more turns come."""
    before = turns.memory("VmRSS")
    sizes = {"vocab": turns.VOCAB, "width": turns.WIDTH, "layers": turns.LAYERS, "d_ff": turns.D_FF}
    if kind == "gpt":
        model = Gpt(**sizes, heads=turns.HEADS, max_len=turns.LENGTH)
    else:
        model = Llama(**sizes, heads=(turns.HEADS, turns.KV_HEADS))
    model.load_state_dict(load_file(weights))
    turns.serve(model, model, before=before, compiled=mode == "compiled")


if __name__ == "__main__":
    main(*sys.argv[1:])
