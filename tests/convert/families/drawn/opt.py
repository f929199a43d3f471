"""Random OPT models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.models import drawn

CLASSES = classes("opt", "OPT", "causal", "hidden", "sequence", "span")


@drawn(*CLASSES)
def any_opt(rng, head):
    heads = rng.choice([1, 2, 3])
    width = heads * rng.randrange(3, 9)
    config = hf.OPTConfig(
        vocab_size=rng.randrange(50, 140),
        max_position_embeddings=rng.randrange(16, 40),
        hidden_size=width,
        num_hidden_layers=rng.randrange(2, 5),
        num_attention_heads=heads,
        ffn_dim=rng.randrange(20, 60),
        word_embed_proj_dim=rng.choice([None, None, width + 4, 7]),
        do_layer_norm_before=rng.random() < 0.6,
        _remove_final_layer_norm=rng.random() < 0.2,
        enable_bias=rng.random() < 0.7,
        layer_norm_elementwise_affine=rng.random() < 0.7,
        activation_function=rng.choice(["relu", "gelu"]),
        tie_word_embeddings=rng.random() < 0.6,
        pad_token_id=rng.choice([0, 1]),
        num_labels=2 if head == "span" else 3,
        attn_implementation="eager",
    )
    return CLASSES[head](config)
