"""Random BLOOM models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.models import drawn

CLASSES = classes("bloom", "Bloom")


@drawn(*CLASSES)
def any_bloom(rng, head):
    heads = rng.choice([1, 2, 3, 4, 6])
    config = hf.BloomConfig(
        vocab_size=rng.randrange(50, 140),
        hidden_size=heads * rng.randrange(3, 9),
        n_layer=rng.randrange(2, 5),
        n_head=heads,
        layer_norm_epsilon=rng.choice([1e-5, 1e-3]),
        apply_residual_connection_post_layernorm=rng.random() < 0.4,
        tie_word_embeddings=rng.random() < 0.6,
        pad_token_id=rng.choice([0, 3]),
        hidden_dropout=0.1,
        num_labels=2 if head == "span" else 3,
        attn_implementation="eager",
    )
    return CLASSES[head](config)
