"""Random MPT models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.models import drawn

CLASSES = classes("mpt", "Mpt")


@drawn(*CLASSES)
def any_mpt(rng, head):
    heads = rng.choice([1, 2, 3, 4, 6])
    config = hf.MptConfig(
        vocab_size=rng.randrange(50, 140),
        d_model=heads * rng.randrange(3, 9),
        n_layers=rng.randrange(2, 5),
        n_heads=heads,
        max_seq_len=40,
        layer_norm_epsilon=rng.choice([1e-5, 1e-3]),
        attn_config={
            "clip_qkv": rng.choice([None, 0.3]),
            "softmax_scale": rng.choice([None, 0.2]),
        },
        tie_word_embeddings=rng.random() < 0.6,
        pad_token_id=rng.choice([0, 3]),
        num_labels=2 if head == "span" else 3,
        attn_implementation="eager",
    )
    return CLASSES[head](config)
