"""The model of ``transformers`` in a plain loop: ``python by_hugging_face.py gpt|llama WEIGHTS [compiled]``."""

from __future__ import annotations

import sys

import transformers
import turns


def main(kind: str, weights: str, mode: str = "eager") -> None:
    """Serve until no more turns come; it has weights of its own."""
    del weights
    before = turns.memory("VmRSS")
    if kind == "gpt":
        config = transformers.GPT2Config(
            vocab_size=turns.VOCAB, n_positions=turns.LENGTH, n_embd=turns.WIDTH, n_layer=turns.LAYERS,
            n_head=turns.HEADS, n_inner=turns.D_FF, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
            attn_implementation="sdpa",
        )  # fmt: skip
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            vocab_size=turns.VOCAB, max_position_embeddings=turns.LENGTH, hidden_size=turns.WIDTH,
            num_hidden_layers=turns.LAYERS, num_attention_heads=turns.HEADS, num_key_value_heads=turns.KV_HEADS,
            intermediate_size=turns.D_FF, tie_word_embeddings=True, attn_implementation="sdpa",
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
    model.train()
    turns.serve(model, lambda ids: model(ids, use_cache=False).logits, before=before, compiled=mode == "compiled")


if __name__ == "__main__":
    main(*sys.argv[1:])
